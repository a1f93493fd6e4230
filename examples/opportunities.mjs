// Prints the life of each arbitrage opportunity of some symbols: opened, updated, closed with a reason. Needs no package.
//
//   node examples/opportunities.mjs ws://127.0.0.1:3000/ws/prices BTC/USDT,ETH/USDT
//
// Node 22 has WebSocket built in. Node 20 needs `node --experimental-websocket`.

const [url = 'ws://127.0.0.1:3000/ws/prices', symbols = 'BTC/USDT'] = process.argv.slice(2)

function connect() {
  const socket = new WebSocket(url)
  socket.onopen = () => {
    // The gateway sends all open opportunities after each connect, so discard those of an earlier connection.
    socket.send(JSON.stringify({ action: 'subscribe', symbols: symbols.split(','), exchanges: [], opportunities: true }))
  }
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    if (message.type === 'error') console.error(message.message)
    if (message.type !== 'opportunity') return
    const { change, symbol, buyExchange, sellExchange, spreadPct, executableSize, reason = '' } = message
    console.log(change, symbol, `${buyExchange} -> ${sellExchange}`, `${spreadPct} %`, executableSize, reason)
  }
  socket.onclose = ({ code, reason }) => {
    console.error(`closed (${code} ${reason}); next attempt in 3 s`)
    setTimeout(connect, 3000)
  }
}

connect()
