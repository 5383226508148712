// Bun with the engine that Socket.IO has for it: `bun server.mjs PORT` listens on 127.0.0.1.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";

const engine = new Engine({ path: "/socket.io/" });
const io = new Server();
io.bind(engine);

io.on("connection", (socket) => {
  socket.on("subscribe", (room, done) => {
    socket.join(room);
    done?.();
  });
  socket.on("unsubscribe", (room, done) => {
    socket.leave(room);
    done?.();
  });
  socket.on("publish", (room, message, done) => {
    io.to(room).emit("data", room, message);
    done?.();
  });
  socket.on("broadcast", (message, done) => {
    socket.broadcast.emit("broadcast", message);
    done?.();
  });
});

Bun.serve({ port: Number(process.argv[2]), hostname: "127.0.0.1", idleTimeout: 30, ...engine.handler() });
