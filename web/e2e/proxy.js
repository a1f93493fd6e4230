// A reverse proxy in front of the gateway, which serves it below a path of its host.

import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'

/** Serves the gateway at `target` (`host:port`) below `base` (`/prefix/`); anything else of this host is 404. */
export async function proxied(target, base) {
  const [host, port] = target.split(':')
  const inside = (url) => (url.startsWith(base) ? url.slice(base.length - 1) : undefined)
  /** Requested paths outside of `base`. */
  const strayed = []
  const sockets = new Set()
  const server = http.createServer((request, response) => {
    const path = inside(request.url)
    if (path === undefined) {
      strayed.push(request.url)
      response.writeHead(404).end('not here')
      return
    }
    const asked = http.request({ host, port, path, method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    asked.on('error', () => response.destroy())
    request.pipe(asked)
    response.on('close', () => asked.destroy())
  })
  server.on('upgrade', (request, socket, head) => {
    const path = inside(request.url)
    if (path === undefined) {
      strayed.push(request.url)
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
      return
    }
    const inner = net.connect({ host, port: Number(port) }, () => {
      const headers = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`)
      inner.write(`GET ${path} HTTP/1.1\r\n${headers.join('')}\r\n`)
      inner.write(head)
      inner.pipe(socket).pipe(inner)
    })
    for (const one of [inner, socket]) one.on('error', () => [inner, socket].forEach((other) => other.destroy()))
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    strayed,
    address: `127.0.0.1:${server.address().port}`,
    stop() {
      server.close()
      sockets.forEach((socket) => socket.destroy())
    },
  }
}
