"""A client in Python: protoo over `websockets`, everything about media by pymediasoup and aiortc."""

import asyncio
import fractions
import json
import math
import time
from collections.abc import Callable
from typing import Any

import aioice.ice
import av
import numpy
from aiortc import MediaStreamTrack
from pymediasoup import AiortcHandler, Device
from pymediasoup.models.transport import DtlsParameters, IceCandidate, IceParameters
from pymediasoup.rtp_parameters import RtpCapabilities, RtpParameters
from pymediasoup.sctp_parameters import SctpParameters, SctpStreamParameters
from websockets.asyncio.client import connect

# aioice leaves out loopback, which is where the mesh is; a machine without any other address must do, too.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

# protoo-client's.
REQUEST_TIMEOUT = 22.5


def plain(model: Any) -> dict:
    """A model of pymediasoup as JSON has it."""
    return model.model_dump(mode="json", exclude_none=True)


class Refused(Exception):
    """The node answered a request with a failure."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Tone(MediaStreamTrack):
    """A sine of 440 Hz."""

    kind = "audio"
    RATE = 48_000
    SAMPLES = 960

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._start = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0, self._start + self._sent / self.RATE - time.monotonic()))
        times = (numpy.arange(self.SAMPLES) + self._sent) / self.RATE
        samples = (numpy.sin(times * 2 * math.pi * 440) * 12_000).astype(numpy.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self.RATE
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, self.RATE)
        self._sent += self.SAMPLES
        return frame


class Picture(MediaStreamTrack):
    """Pictures whose left half is bright and whose right half is dark, so that who sees them knows them again."""

    kind = "video"
    WIDTH, HEIGHT, RATE = 320, 240, 10

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._start = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(max(0, self._start + self._sent / self.RATE - time.monotonic()))
        picture = numpy.zeros((self.HEIGHT, self.WIDTH, 3), dtype=numpy.uint8)
        picture[:, : self.WIDTH // 2] = 220
        picture[self.HEIGHT // 2, self._sent * 4 % self.WIDTH] = 128
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = self._sent * 90_000 // self.RATE
        frame.time_base = fractions.Fraction(1, 90_000)
        self._sent += 1
        return frame


class Client:
    """A peer of a room."""

    def __init__(self, ws: str, room: str, peer: str) -> None:
        self.peer = peer
        self.url = f"{ws}/?roomId={room}&peerId={peer}"
        self.notifications: list[tuple[str, dict]] = []
        # By peer and kind.
        self.consumers: dict[tuple[str, str], Any] = {}
        self.data_consumers: dict[tuple[str, str], Any] = {}
        self.messages: list[tuple[str, str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self._answers: dict[int, asyncio.Future] = {}
        self._next = 1
        self._tasks: set[asyncio.Task] = set()
        # pymediasoup negotiates one thing at a time.
        self._negotiating = asyncio.Lock()

    async def __aenter__(self) -> "Client":
        self._socket = await connect(self.url, subprotocols=["protoo"], max_size=None)
        assert self._socket.subprotocol == "protoo"
        self._spawn(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in (getattr(self, "sending", None), getattr(self, "receiving", None)):
            if transport is not None:
                await transport.close()
        await self._socket.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def request(self, method: str, data: dict | None = None) -> dict:
        """Asks the node, and answers what it answers."""
        number, self._next = self._next, self._next + 1
        self._answers[number] = asyncio.get_running_loop().create_future()
        body = {"request": True, "id": number, "method": method, "data": data or {}}
        await self._socket.send(json.dumps(body))
        async with asyncio.timeout(REQUEST_TIMEOUT):
            return await self._answers[number]

    async def join(self) -> list[dict]:
        """Makes transports and joins; answers who is there."""
        self.device = Device(handlerFactory=AiortcHandler.createFactory())
        await self.device.load(RtpCapabilities(**await self.request("getRouterRtpCapabilities")))
        self.sctp = plain(self.device.sctpCapabilities)
        self.sending = await self._transport(producing=True)
        self.receiving = await self._transport(producing=False)
        answer = await self.request(
            "join",
            {
                "displayName": self.peer.capitalize(),
                "device": {"flag": "python", "name": "pymediasoup", "version": "1"},
                "rtpCapabilities": plain(self.device.recvRtpCapabilities),
                "sctpCapabilities": self.sctp,
            },
        )
        return answer["peers"]

    async def produce(self, track: MediaStreamTrack, source: str) -> Any:
        """Sends a track."""
        async with self._negotiating:
            return await self.sending.produce(track=track, appData={"source": source})

    async def produce_data(self, label: str, **options: Any) -> Any:
        """Opens a channel for messages."""
        async with self._negotiating:
            return await self.sending.produceData(label=label, protocol="text", **options)

    async def _transport(self, producing: bool) -> Any:
        made = await self.request(
            "createWebRtcTransport",
            {"forceTcp": False, "producing": producing, "consuming": not producing, "sctpCapabilities": self.sctp},
        )
        make = self.device.createSendTransport if producing else self.device.createRecvTransport
        # mediasoup's own server writes a candidate's address under both names; pymediasoup knows the older one only.
        candidates = [{"ip": candidate["address"], **candidate} for candidate in made["iceCandidates"]]
        transport = make(
            id=made["id"],
            iceParameters=IceParameters(**made["iceParameters"]),
            iceCandidates=[IceCandidate(**candidate) for candidate in candidates],
            dtlsParameters=DtlsParameters(**made["dtlsParameters"]),
            sctpParameters=SctpParameters(**made["sctpParameters"]),
            # Or aiortc asks a server on the internet for its address.
            iceServers=[],
        )

        @transport.on("connect")
        async def connected(dtlsParameters: DtlsParameters) -> None:
            data = {"transportId": transport.id, "dtlsParameters": plain(dtlsParameters)}
            await self.request("connectWebRtcTransport", data)

        @transport.on("produce")
        async def produced(kind: str, rtpParameters: RtpParameters, appData: dict) -> str:
            data = {"transportId": transport.id, "kind": kind, "rtpParameters": plain(rtpParameters), "appData": appData}
            return (await self.request("produce", data))["id"]

        @transport.on("producedata")
        async def produced_data(
            sctpStreamParameters: SctpStreamParameters, label: str, protocol: str, appData: dict
        ) -> str:
            parameters = plain(sctpStreamParameters)
            wanted = ("streamId", "ordered", "maxPacketLifeTime", "maxRetransmits")
            data = {
                "transportId": transport.id,
                "sctpStreamParameters": {key: parameters[key] for key in wanted if key in parameters},
                "label": label,
                "protocol": protocol,
                "appData": appData,
            }
            return (await self.request("produceData", data))["id"]

        return transport

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if message.get("response"):
                answer = self._answers.pop(message["id"])
                if message["ok"]:
                    answer.set_result(message["data"])
                else:
                    answer.set_exception(Refused(message["errorCode"], message["errorReason"]))
            elif message.get("request"):
                # Beside the reading: accepting a consumer takes requests of our own.
                self._spawn(self._asked(message))
            else:
                self.notifications.append((message["method"], message.get("data", {})))
        self.closed = (self._socket.close_code, self._socket.close_reason)

    async def _asked(self, message: dict) -> None:
        try:
            methods = {"newConsumer": self._new_consumer, "newDataConsumer": self._new_data_consumer}
            await methods[message["method"]](message["data"])
            answer = {"ok": True, "data": {}}
        except Exception as error:
            # Whatever it is, the node shall hear of it, and the test sees no consumer.
            answer = {"ok": False, "errorCode": 500, "errorReason": repr(error)}
            print(f"{self.peer}: {message['method']}: {error!r}")
        await self._socket.send(json.dumps({"response": True, "id": message["id"], **answer}))

    async def _new_consumer(self, data: dict) -> None:
        async with self._negotiating:
            consumer = await self.receiving.consume(
                id=data["id"],
                producerId=data["producerId"],
                kind=data["kind"],
                rtpParameters=RtpParameters(**data["rtpParameters"]),
                appData=data["appData"],
            )
        self.consumers[data["peerId"], data["kind"]] = consumer

    async def _new_data_consumer(self, data: dict) -> None:
        async with self._negotiating:
            consumer = await self.receiving.consumeData(
                id=data["id"],
                dataProducerId=data["dataProducerId"],
                sctpStreamParameters=SctpStreamParameters(**data["sctpStreamParameters"]),
                label=data["label"],
                protocol=data["protocol"],
                appData=data["appData"],
            )
        self.data_consumers[data["peerId"], data["label"]] = consumer

        @consumer.on("message")
        def received(content: Any) -> None:
            self.messages.append((data["peerId"], data["label"], content))

    def told(self, method: str) -> list[dict]:
        """All notifications of this method so far."""
        return [data for name, data in self.notifications if name == method]

    async def consumer(self, peer: str, kind: str) -> Any:
        """Waits for a consumer of a peer."""
        return await until(lambda: self.consumers.get((peer, kind)), f"{self.peer} to get {kind} of {peer}")


async def until(probe: Callable[[], Any], what: str, timeout: float = 20) -> Any:
    """Waits until `probe` answers something true, and answers that."""
    end = time.monotonic() + timeout
    while not (answer := probe()):
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        await asyncio.sleep(0.05)
    return answer
