// One process that emits over Redis as back ends do: with the emitter, or as a server with the adapter and
// without clients.
//
// Usage: node emitter.js redis-url key. Commands come as JSON lines on stdin; each is answered with a line on
// stdout once Redis has what it is about. What JSON has not is {"$js": expression}.
'use strict';

const readline = require('node:readline');

const { createAdapter } = require('@socket.io/redis-adapter');
const { Emitter } = require('@socket.io/redis-emitter');
const { createClient } = require('redis');
const { Server } = require('socket.io');

const { unwrap } = require('./tagged.js');

async function main([url, key]) {
  const [plain, publishing, subscribing] = await Promise.all(
    [1, 2, 3].map(() => createClient({ url }).connect()),
  );
  const server = new Server({ adapter: createAdapter(publishing, subscribing, { key }) });
  const sources = { emitter: new Emitter(plain, { key }), adapter: server };
  const commands = {
    emit({ from, namespace, to, except, flags, event, args, times }) {
      let target = namespace === '/' ? sources[from] : sources[from].of(namespace);
      if (to.length > 0) target = target.to(to);
      if (except.length > 0) target = target.except(except);
      for (const flag of flags) target = target[flag];
      const values = args.map(unwrap).map(evaluated);
      // Of many, the last argument is the number.
      if (times === 0) target.emit(event, ...values);
      for (let number = 0; number < times; number += 1) target.emit(event, ...values, number);
    },

    join({ to, room }) { sources.emitter.in(to).socketsJoin(room); },

    async fetch() { return (await server.fetchSockets()).length; },
  };
  const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
  for await (const line of lines) {
    const command = JSON.parse(line);
    const answer = await commands[command.do](command);
    // Each connection is served in order.
    await Promise.all([plain.ping(), publishing.ping()]);
    process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
  }
  process.exit(0);
}

function evaluated(value) {
  return value !== null && typeof value === 'object' && typeof value.$js === 'string'
    ? new Function(`return ${value.$js}`)()
    : value;
}

main(process.argv.slice(2));
