// The four events, as a server of Socket.IO for JavaScript would have them.
export function serve(io) {
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
}
