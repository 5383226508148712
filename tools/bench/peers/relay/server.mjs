// Node's server with the adapter that its documentation shows for several of them:
// `node server.mjs REDIS_PORT PORT` listens on 127.0.0.1.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { serve } from "../events.mjs";

const [redis, port] = process.argv.slice(2).map(Number);
const publisher = createClient({ url: `redis://127.0.0.1:${redis}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber) });

serve(io);

http.listen(port, "127.0.0.1");
