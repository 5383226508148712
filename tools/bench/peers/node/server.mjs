// Node's own server, as its documentation shows: `node server.mjs PORT` listens on 127.0.0.1.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { serve } from "../events.mjs";

const http = createServer();
const io = new Server(http, { allowEIO3: true });

serve(io);

http.listen(Number(process.argv[2]), "127.0.0.1");
