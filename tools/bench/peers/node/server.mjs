// Node's own server, as its documentation shows: `node server.mjs PORT` listens on 127.0.0.1.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { allowEIO3: true });

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

http.listen(Number(process.argv[2]), "127.0.0.1");
