import { Fragment } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ChatMessage } from '../sdk/index.js';
import { clock } from '../ui/format.js';
import { Icon } from '../ui/icons.js';
import type { Call } from './call.js';

/** Data channels carry more, but nobody reads more. */
const LONGEST = 4000;

/** The chat, at the side, or from below on a phone. */
export function Chat({ call }: { call: Call }) {
  const list = useRef<HTMLOListElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState('');
  const { messages } = call;
  useEffect(() => input.current?.focus(), []);
  useEffect(() => {
    // Whoever has scrolled up to read is not torn away, except by what they write themselves.
    const element = list.current;
    if (!element) return;
    const near = element.scrollHeight - element.scrollTop - element.clientHeight < 160;
    if (near || messages.at(-1)?.mine) element.scrollTop = element.scrollHeight;
  }, [messages.length]);
  const send = async (event: Event) => {
    event.preventDefault();
    const line = text.trim();
    if (!line) return;
    setText('');
    // What could not be sent is not lost.
    await call.say(line).catch(() => setText(line));
  };
  return (
    <aside class="panel" aria-label="Chat" data-testid="chat">
      <header>
        <h2>Chat</h2>
        <button type="button" class="icon-button" aria-label="Close the chat" onClick={() => call.togglePanel('chat')}>
          <Icon name="close" />
        </button>
      </header>
      {messages.length === 0 && <p class="panel-empty">Nobody has written anything since you came.</p>}
      <ol class="messages" ref={list} aria-live="polite" tabIndex={messages.length ? 0 : -1} aria-label="Messages">
        {messages.map((message, index) => (
          <Message key={index} message={message} before={messages[index - 1]} />
        ))}
      </ol>
      <form class="chat-form" onSubmit={(event) => void send(event)}>
        <input
          ref={input}
          class="input"
          data-testid="chat-input"
          aria-label="Message to everyone"
          placeholder={call.listens ? 'Listeners cannot write' : 'Message to everyone'}
          disabled={call.listens}
          autocomplete="off"
          enterkeyhint="send"
          maxLength={LONGEST}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" class="send" aria-label="Send" data-testid="chat-send" disabled={!text.trim()}>
          <Icon name="send" />
        </button>
      </form>
    </aside>
  );
}

function Message({ message, before }: { message: ChatMessage; before: ChatMessage | undefined }) {
  const { mine, peerId, displayName, at, text } = message;
  // Lines of one person in a row have one heading.
  const goesOn = before?.peerId === peerId && before.mine === mine && at - before.at < 120_000;
  return (
    <li class={`message ${mine ? 'mine' : ''}`} data-testid="chat-message" data-peer={peerId ?? ''} data-mine={String(mine)}>
      {!goesOn && (
        <p class="message-head">
          <strong>{mine ? 'You' : displayName || 'The node'}</strong> <time>{clock(at)}</time>
        </p>
      )}
      <p class="message-text">{withLinks(text)}</p>
    </li>
  );
}

/** Makes addresses clickable. Everything stays text, so nothing that others write can become markup. */
function withLinks(text: string) {
  return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/g).map((part, index) =>
    index % 2 === 1 ? (
      <a key={index} href={part} target="_blank" rel="noopener noreferrer">
        {part}
      </a>
    ) : (
      <Fragment key={index}>{part}</Fragment>
    ),
  );
}
