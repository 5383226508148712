// Bun with the engine that Socket.IO has for it: `bun server.mjs PORT` listens on 127.0.0.1.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { serve } from "../events.mjs";

const engine = new Engine({ path: "/socket.io/" });
const io = new Server();
io.bind(engine);

serve(io);

Bun.serve({ port: Number(process.argv[2]), hostname: "127.0.0.1", idleTimeout: 30, ...engine.handler() });
