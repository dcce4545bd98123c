/** Why a room was closed, for people: what happened, and what can be done about it. */
export interface Explanation {
  title: string;
  text: string;
  /** Whether it makes sense to offer coming back. */
  again: boolean;
}

const known: [pattern: RegExp, explanation: Explanation][] = [
  [/^left$/i, { title: 'You left the room', text: 'Come back whenever you like.', again: true }],
  [
    /room (is )?full/i,
    { title: 'The room is full', text: 'It has as many people as it may have. Try again when someone has left.', again: true },
  ],
  [
    /no machine came/i,
    { title: 'No place in time', text: 'The mesh tried to start another machine for you, and it did not come in time. Try again in a minute.', again: true },
  ],
  [
    /mesh (is )?full|no (worker|host|room)/i,
    { title: 'The mesh is full', text: 'No node has room for one more right now. Try again in a minute.', again: true },
  ],
  [/kick|sent away|removed/i, { title: 'You were removed', text: 'Somebody who moderates this room has removed you from it.', again: false }],
  [
    /connected again|another connection|replaced/i,
    { title: 'You joined from elsewhere', text: 'The same participant connected again, so this window was let go.', again: true },
  ],
  [/room.*(closed|ended)|closed.*room/i, { title: 'The room was closed', text: 'It has ended for everyone.', again: false }],
  [
    /token|authori[sz]ed|unauthori|forbidden/i,
    { title: 'The invitation was refused', text: 'The token in the link is not valid for this room, or has expired. Ask for a new link.', again: true },
  ],
  [
    /contradict|one-to-one|\b(mode|size|guaranteed|lastN)\b/i,
    { title: 'The room is of another kind', text: 'What the link asks for does not go together, or the room exists already and is different. Open it without mode, size and lastN in the link.', again: true },
  ],
  [
    /not supported|unsupported/i,
    { title: 'This browser cannot join', text: 'It lacks something that calls need. A recent Chrome, Edge, Firefox or Safari will do.', again: false },
  ],
];

/** Whether the reason is that no WebSocket came to be, of which browsers do not tell pages any more than that. */
export function unreachable(reason: string): boolean {
  return /could not be reached|did not answer/.test(reason);
}

/**
 * Explains why a room closed.
 *
 * @param answers whether the node answers other requests, where that is known
 */
export function explain(reason: string, answers = false): Explanation {
  const found = known.find(([pattern]) => pattern.test(reason))?.[1];
  if (found) return found;
  if (unreachable(reason) && answers) {
    return {
      title: 'The node refused',
      text: 'It answers, but does not let this page in. The link may lack a token, or its token may have expired.',
      again: true,
    };
  }
  if (unreachable(reason)) {
    return {
      title: 'No node could be reached',
      text: 'Check your network. If it works, the mesh may be down, or may have refused the connection.',
      again: true,
    };
  }
  return { title: 'The connection ended', text: reason, again: true };
}
