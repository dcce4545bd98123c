"""A client that is not ours, and not a browser, meets another through nodes that do not hold it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy
import pytest

from client import Client, Picture, Refused, Tone, until
from mesh import Mesh

LIMIT = 90


def run(body: Coroutine[Any, Any, None]) -> None:
    """Runs a test's body, for so long and no longer."""
    asyncio.run(asyncio.wait_for(body, LIMIT))


async def frames(consumer: Any, number: int, timeout: float = 25) -> list[Any]:
    """So many decoded frames, the last ones: the first ones are from before the picture was whole."""
    async with asyncio.timeout(timeout):
        return [await consumer.track.recv() for _ in range(number)]


def check_picture(frame: Any) -> None:
    """It is the sender's: bright at the left, dark at the right."""
    assert (frame.width, frame.height) == (Picture.WIDTH, Picture.HEIGHT)
    luma = frame.to_ndarray(format="gray")
    half = Picture.WIDTH // 2
    left, right = luma[:, : half - 8].mean(), luma[:, half + 8 :].mean()
    assert left > 180 and right < 60, f"left {left:.0f}, right {right:.0f}"


def check_tone(heard: list[Any]) -> None:
    """It is the sender's: loud, and of 440 Hz."""
    rate = heard[0].sample_rate
    samples = numpy.concatenate([frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)] for frame in heard])
    assert numpy.abs(samples).max() > 1000, "silence"
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
    peak = numpy.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()]
    assert abs(peak - 440) < 15, f"{peak:.0f} Hz"


async def check_media(sender: str, receiver: Client) -> None:
    """What `sender` produces arrives, is decoded, and is what was sent."""
    video, audio = await asyncio.gather(receiver.consumer(sender, "video"), receiver.consumer(sender, "audio"))
    pictures, sounds = await asyncio.gather(frames(video, 20), frames(audio, 100))
    check_picture(pictures[-1])
    check_tone(sounds[-50:])


async def check_messages(sender: Client, receiver: Client, label: str, **options: Any) -> None:
    """Messages arrive, in order, as text and as bytes."""
    channel = await sender.produce_data(label, **options)
    await until(lambda: channel.readyState == "open", f"the channel {label} to open")
    await until(lambda: (sender.peer, label) in receiver.data_consumers, f"{receiver.peer} to get {label}")
    consumer = receiver.data_consumers[sender.peer, label]
    await until(lambda: consumer.readyState == "open", f"the channel {label} to open at {receiver.peer}")

    def got() -> list[Any]:
        return [content for peer, of, content in receiver.messages if (peer, of) == (sender.peer, label)]

    # What is sent before the far end is ready is lost, as anywhere.
    while not got():
        channel.send("ready?")
        await asyncio.sleep(0.1)
    sent = [f"message {number}" for number in range(50)] + [bytes(range(256)) * 16]
    for content in sent:
        channel.send(content)
    await until(lambda: len([one for one in got() if one != "ready?"]) == len(sent), f"all messages of {label}")
    assert [one for one in got() if one != "ready?"] == sent


async def pause_and_resume(sender: Client, receiver: Client, producer: Any, kind: str) -> None:
    """A pause is told and stops the packets; so does the end of it, the other way round."""
    consumer = receiver.consumers[sender.peer, kind]

    async def packets() -> int:
        # The consumer's own figures come first, then those of its producer.
        stats = await receiver.request("getConsumerStats", {"consumerId": consumer.id})
        return stats[0]["packetCount"]

    await sender.request("pauseProducer", {"producerId": producer.id})
    await until(lambda: {"consumerId": consumer.id} in receiver.told("consumerPaused"), "the pause to be told")
    await asyncio.sleep(0.3)
    before = await packets()
    await asyncio.sleep(1)
    assert await packets() == before, "packets went on after the pause"
    await sender.request("resumeProducer", {"producerId": producer.id})
    await until(lambda: {"consumerId": consumer.id} in receiver.told("consumerResumed"), "the resumption to be told")
    async with asyncio.timeout(15):
        while await packets() < before + 10:
            await asyncio.sleep(0.1)


async def meet(mesh: Mesh, room: str, entries: tuple[int, int], hosts: dict[str, str]) -> None:
    """Two clients join through their entries, are where they shall be, exchange everything, and leave."""
    async with (
        Client(mesh.nodes[entries[0]]["ws"], room, "ann") as ann,
        Client(mesh.nodes[entries[1]]["ws"], room, "ben") as ben,
    ):
        assert await ann.join() == []
        (present,) = await ben.join()
        assert (present["id"], present["displayName"]) == ("ann", "Ann")
        await until(lambda: [peer["id"] for peer in ann.told("newPeer")] == ["ben"], "Ann to hear of Ben")
        assert mesh.hosts(room) == hosts
        tone = await ann.produce(Tone(), "mic")
        await ann.produce(Picture(), "webcam")
        await ben.produce(Tone(), "mic")
        await ben.produce(Picture(), "webcam")
        await asyncio.gather(check_media("ann", ben), check_media("ben", ann))
        await check_messages(ann, ben, "chat")
        await check_messages(ben, ann, "bot")
        await pause_and_resume(ann, ben, tone, "audio")
        await check_refusals(ann)
        assert ann.closed is None and ben.closed is None


async def check_refusals(client: Client) -> None:
    """What makes no sense is refused with a reason, and the session goes on."""
    for method, data, names in [
        ("noSuchMethod", {}, "noSuchMethod"),
        ("closeProducer", {"producerId": "00000000-0000-4000-8000-000000000000"}, "producerId"),
        ("pauseConsumer", {"consumerId": 7}, "consumerId"),
        ("join", {}, "join"),
    ]:
        with pytest.raises(Refused) as refused:
            await client.request(method, data)
        assert 400 <= refused.value.code < 500
        assert names in refused.value.reason or method == "join", refused.value.reason
    assert (await client.request("getRouterRtpCapabilities"))["codecs"]


def test_relayed(make_mesh: Callable[..., Mesh]) -> None:
    """One node holds both, and each has dialled another one."""
    mesh = make_mesh(nodes=3)

    async def body() -> None:
        # Who comes first decides where the room is. This one only opens its socket; the others then dial the two nodes
        # that do not hold the room.
        async with Client(mesh.nodes[0]["ws"], "relayed", "first"):
            hosts = await until(lambda: mesh.api("/rooms/relayed") and mesh.hosts("relayed"), "the first peer")
            host = hosts["first"]
            ann, ben = (index for index, node in enumerate(mesh.nodes) if node["id"] != host)
            await meet(mesh, "relayed", (ann, ben), {"first": host, "ann": host, "ben": host})
        await asyncio.to_thread(mesh.wait_until_empty)

    run(body())


def test_piped(make_mesh: Callable[..., Mesh]) -> None:
    """Each node holds its own client, and pipes what the other needs."""
    mesh = make_mesh(nodes=2, placement__prefer="entry")
    ann, ben = (node["id"] for node in mesh.nodes)

    async def body() -> None:
        await meet(mesh, "piped", (0, 1), {"ann": ann, "ben": ben})
        await asyncio.to_thread(mesh.wait_until_empty)

    run(body())


def test_candidates_have_both_names_of_their_address(make_mesh: Callable[..., Mesh]) -> None:
    """mediasoup's own server writes `ip` and `address`, and clients of before 2024 read `ip`."""
    mesh = make_mesh(nodes=1)

    async def body() -> None:
        async with Client(mesh.nodes[0]["ws"], "candidates", "ann") as ann:
            wish = {"forceTcp": False, "producing": True, "consuming": False}
            made = await ann.request("createWebRtcTransport", wish)
            assert made["iceCandidates"]
            for candidate in made["iceCandidates"]:
                assert candidate["address"] == "127.0.0.1"
                assert candidate["ip"] == candidate["address"]

    run(body())
