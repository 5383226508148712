// One process that drives any number of Socket.IO clients of one JavaScript version.
//
// Usage: node client.js 2|3|4. Commands come as JSON lines on stdin, what the clients see goes as
// JSON lines to stdout; README.md lists both.
'use strict';

const readline = require('node:readline');

const { unwrap, wrap } = require('./tagged.js');

const io = require(`socket.io-client-v${process.argv[2]}`);

const clients = new Map();

const commands = {
  connect({ client, url, mode, parser, namespace, early, over, shown, cookies }) {
    const options = shown ? showing(shown) : {};
    if (cookies) options.withCredentials = true;
    if (mode !== 'upgrade') options.transports = [mode];
    if (parser === 'msgpack') options.parser = require('socket.io-msgpack-parser');
    const socket = over ? clients.get(over).io.socket(namespace) : io(url + namespace, options);
    clients.set(client, socket);
    // Version 2 shows what stands in its options when it comes back; later ones ask for it each time.
    if (shown && shown.how === 'query') {
      socket.io.on('reconnect_attempt', () => { socket.io.opts.query = showing(shown).query; });
    }
    watch(client, socket, early);
  },

  emit({ client, event, args, ack }) {
    const values = args.map(unwrap);
    if (ack !== undefined) values.push((...answer) => report(client, 'ack', [ack, answer]));
    clients.get(client).emit(event, ...values);
  },

  // Publishes as fast as the client can.
  burst({ client, room, count }) {
    const socket = clients.get(client);
    for (let number = 0; number < count; number += 1) socket.emit('publish', room, number);
  },

  transport({ client }) {
    report(client, 'transport', [clients.get(client).io.engine.transport.name]);
  },

  disconnect({ client }) {
    clients.get(client).disconnect();
    clients.delete(client);
  },
};

// The options that show a token; one after the other, if there are several.
function showing({ how, tokens }) {
  const next = () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
  if (how === 'auth') return { auth: (done) => done({ token: next() }) };
  if (how === 'query') return { query: { token: next() } };
  return { extraHeaders: { Authorization: `Bearer ${next()}` } };
}

function watch(client, socket, early) {
  socket.on('connect', () => {
    for (const [event, ...args] of early) socket.emit(event, ...args.map(unwrap));
    const { engine } = socket.io;
    report(client, 'transport', [engine.transport.name]);
    engine.on('upgrade', (transport) => report(client, 'transport', [transport.name]));
    report(client, 'connect', []);
  });
  socket.on('disconnect', (reason) => report(client, 'disconnect', [reason]));
  const refused = (error) => report(client, 'connect_error', [error.message || error]);
  socket.on('connect_error', refused);
  // Version 2 reports a refused namespace as `error`; later versions never emit that.
  socket.on('error', refused);
  if (socket.onAny) {
    socket.onAny((event, ...args) => report(client, event, args));
  } else {
    for (const event of ['data', 'broadcast']) socket.on(event, (...args) => report(client, event, args));
  }
}

function report(client, event, args) {
  process.stdout.write(`${JSON.stringify({ client, event, args: wrap(args) })}\n`);
}

const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on('close', () => process.exit(0));
