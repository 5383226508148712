"""python-socketio with uvicorn, as its documentation shows: `server.py PORT` listens on 127.0.0.1."""

import sys

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")


@server.event
async def subscribe(sid, room):
    await server.enter_room(sid, room)


@server.event
async def unsubscribe(sid, room):
    await server.leave_room(sid, room)


@server.event
async def publish(sid, room, message):
    await server.emit("data", (room, message), room=room)


@server.event
async def broadcast(sid, message):
    await server.emit("broadcast", message, skip_sid=sid)


uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
