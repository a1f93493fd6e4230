// Records the frames that a venue sends to the feed: a TCP proxy in front of the simulator.

import { once } from 'node:events'
import net from 'node:net'
import { Receiver } from 'ws'

export class Tap {
  /** By venue: the lines of a capture for `spreadwire decode`. */
  captures = {}
  #connections = 0
  #sockets = new Set()

  /** Listens on a free port and forwards each connection to `target` (`host:port`). */
  static async open(target) {
    const tap = new Tap()
    const [host, port] = target.split(':')
    tap.server = net.createServer((client) => {
      const upstream = net.connect({ host, port: Number(port) })
      for (const [one, other] of [[client, upstream], [upstream, client]]) {
        tap.#sockets.add(one)
        one.on('error', () => other.destroy())
        one.on('close', () => tap.#sockets.delete(one))
      }
      client.once('data', (head) => {
        const [, venue] = /^\w+ \/(\w+)/.exec(head.toString('latin1'))
        tap.#record(venue, upstream)
        upstream.write(head)
        client.pipe(upstream)
        upstream.pipe(client)
      })
    })
    tap.server.listen(0, '127.0.0.1')
    await once(tap.server, 'listening')
    tap.address = `127.0.0.1:${tap.server.address().port}`
    return tap
  }

  /** Adds the messages of one WebSocket connection to the capture of `venue`; ignores replies to HTTP requests. */
  #record(venue, upstream) {
    const conn = ++this.#connections
    const lines = (this.captures[venue] ??= [])
    const add = (line) => lines.push(JSON.stringify({ conn, ...line }))
    const receiver = new Receiver({ isServer: false })
    receiver.on('message', (data, isBinary) => add({ dir: 'in', ...(isBinary ? { enc: 'base64', frame: data.toString('base64') } : { frame: data.toString() }) }))
    // The feed reports a broken frame; here it ends the recording only.
    receiver.on('error', () => {})
    let head = Buffer.alloc(0)
    let isOpen = false
    upstream.on('data', (bytes) => {
      if (isOpen) return receiver.write(bytes)
      head = Buffer.concat([head, bytes])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0 || !head.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) return
      isOpen = true
      add({ dir: 'connect' })
      receiver.write(head.subarray(end + 4))
    })
  }

  close() {
    this.server.close()
    this.#sockets.forEach((socket) => socket.destroy())
  }
}
