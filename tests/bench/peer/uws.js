// SPDX-License-Identifier: MIT
// The same with uWebSockets.js and its own topics. By default it drops what a listener has not read after 64 KiB; here it keeps 16 MiB.
const uWS = require('@trufflesuite/uws-js-unofficial')

const app = uWS.App()
app.ws('/*', { compression: uWS.DISABLED, maxBackpressure: 16 << 20, idleTimeout: 0, sendPingsAutomatically: false, open: (client) => client.subscribe('bench') })
app.post('/in', (answer) => {
  const parts = []
  answer.onAborted(() => {})
  answer.onData((part, last) => {
    parts.push(Buffer.from(Buffer.from(part)))
    if (!last) return
    const body = Buffer.concat(parts).toString()
    for (const event of body[0] === '[' ? JSON.parse(body).map((one) => JSON.stringify(one)) : [body]) app.publish('bench', event)
    answer.cork(() => answer.writeStatus('202 Accepted').end())
  })
})
app.listen('127.0.0.1', Number(process.argv[2]), (socket) => socket || process.exit(1))
