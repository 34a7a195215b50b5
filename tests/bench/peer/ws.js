// SPDX-License-Identifier: MIT
// The server that people write with npm's ws: what is posted goes to everybody, from memory.
const http = require('http')
const { WebSocket, WebSocketServer } = require('ws')

const server = http.createServer((request, answer) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    const body = Buffer.concat(parts).toString()
    for (const event of body[0] === '[' ? JSON.parse(body).map((one) => JSON.stringify(one)) : [body]) {
      for (const client of listeners.clients) if (client.readyState === WebSocket.OPEN) client.send(event)
    }
    answer.writeHead(202).end()
  })
})
const listeners = new WebSocketServer({ server, perMessageDeflate: false })
server.keepAliveTimeout = 600000 // by default a sender that waits for 5 s is cut off
server.listen(Number(process.argv[2]), '127.0.0.1')
