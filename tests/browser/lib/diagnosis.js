// What the pages' connections were like when something went wrong.

/** Open tabs, by their tests' order. */
const open = new Set();

/** Notes all RTCPeerConnections of a tab, and when its script stood still, for `diagnose`; before anything of the page runs. */
export async function observe(peer) {
  open.add(peer);
  peer.page.once('close', () => open.delete(peer));
  await peer.page.addInitScript(() => {
    const all = (window.peerConnections = []);
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...options) {
        super(...options);
        all.push(this);
      }
    };
    const stands = (window.longTasks = []);
    const noticed = (list) => stands.push(...list.getEntries().filter(({ duration }) => duration > 500));
    new PerformanceObserver(noticed).observe({ type: 'longtask', buffered: true });
  });
}

/** Lines that say how all open tabs' connections stand, and what comes and goes over them. */
export async function diagnose() {
  const told = [...open].map(async (peer) => {
    const late = new Promise((resolve) => setTimeout(resolve, 3000, ['the page does not answer']).unref());
    const lines = await Promise.race([peer.page.evaluate(tell), late]).catch((error) => [error.message]);
    return lines.map((line) => `${peer.id ?? 'a tab'}: ${line}`);
  });
  return (await Promise.all(told)).flat().join('\n');
}

/** Runs in the page. */
async function tell() {
  const lines = [];
  const some = (entry, keys) =>
    keys
      .filter((key) => entry[key] !== undefined)
      .map((key) => `${key} ${typeof entry[key] === 'object' ? JSON.stringify(entry[key]) : entry[key]}`)
      .join(', ');
  const rtp = ['kind', 'mid', 'ssrc', 'active', 'packetsReceived', 'packetsLost', 'packetsSent', 'framesReceived'];
  rtp.push('framesDecoded', 'keyFramesDecoded', 'framesEncoded', 'keyFramesEncoded', 'pliCount', 'nackCount');
  const wanted = {
    transport: ['dtlsState', 'iceState', 'packetsReceived', 'packetsSent'],
    'inbound-rtp': rtp,
    'outbound-rtp': rtp,
  };
  for (const [index, pc] of (window.peerConnections ?? []).entries()) {
    const states = some(pc, ['signalingState', 'connectionState', 'iceConnectionState']);
    lines.push(`connection ${index}: ${states}`);
    if (pc.connectionState === 'closed') continue;
    for (const { mid, currentDirection, receiver } of pc.getTransceivers()) {
      const { kind, muted, readyState } = receiver.track;
      lines.push(`  ${mid} ${kind} ${currentDirection}: track muted ${muted}, ${readyState}`);
    }
    for (const entry of (await pc.getStats()).values()) {
      const keys = wanted[entry.type];
      if (keys) lines.push(`  ${entry.type}: ${some(entry, keys)}`);
    }
  }
  for (const { startTime, duration } of window.longTasks ?? []) {
    const ago = performance.now() - startTime - duration;
    lines.push(`its script stood still for ${Math.round(duration)} ms, until ${Math.round(ago)} ms ago`);
  }
  const room = window.skein?.room;
  if (room) lines.push(`the room: ${some(room, ['state', 'moving'])}`);
  const sessions = new Set(room?.sessions);
  for (const { number, protoo, send, recv } of sessions) {
    lines.push(`connection ${number}: closed ${protoo.closed}`);
    for (const transport of [send, recv]) {
      // What it works off one after the other has no public name.
      const tasks = (transport._awaitQueue?.dump() ?? []).map(
        ({ name, enqueuedTime, executionTime }) => `${name} (${enqueuedTime} ms waiting, ${executionTime} ms at it)`,
      );
      const state = some(transport, ['direction', 'closed', 'connectionState']);
      lines.push(`  transport ${transport.id}: ${state}; its queue: ${tasks.join(', ') || 'empty'}`);
    }
    for (const { by, method, data, since } of protoo.pending ?? []) {
      const about = some(data, ['peerId', 'id', 'producerId', 'dataProducerId', 'consumerId', 'transportId']);
      lines.push(`  the ${by}'s request ${method} has waited for ${Date.now() - since} ms: ${about}`);
    }
  }
  for (const { id, subscriptions } of room?.peers.values() ?? []) {
    for (const one of subscriptions) {
      const state = some(one, ['id', 'muted', 'paused', 'layers', 'score']);
      lines.push(`${id}'s ${one.source}: ${state}`);
      for (const { id: consumerId, session, delivers, settled } of one.legs) {
        const host = await session.protoo
          .request('getConsumerStats', { consumerId }, 2000)
          .catch((error) => [{ type: error.message }]);
        const streams = host.map((entry) => some(entry, ['type', 'packetCount', 'bitrate', 'bitrateByLayer', 'pliCount', 'score']));
        sessions.add(session);
        const leg = `consumer ${consumerId} of connection ${session.number}, delivers ${delivers}, settled ${settled}`;
        lines.push(`  ${leg}; its host: ${streams.join(' | ')}`);
      }
    }
  }
  for (const { number, protoo, recv } of sessions) {
    const host = await protoo
      .request('getTransportStats', { transportId: recv.id }, 2000)
      .catch((error) => [{ type: error.message }]);
    const keys = ['type', 'availableOutgoingBitrate', 'sendBitrate', 'rtpPacketLossSent', 'dtlsState', 'iceState'];
    lines.push(`connection ${number}, what it receives, at its host: ${host.map((entry) => some(entry, keys)).join(' | ')}`);
  }
  return lines;
}
