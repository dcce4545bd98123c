import { Icon } from '../ui/icons.js';
import type { Call } from './call.js';

/** Short messages that go away by themselves. */
export function Toasts({ call }: { call: Call }) {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {call.toasts.map(({ id, text, bad }) => (
        <div key={id} class={`toast ${bad ? 'bad' : ''}`} data-testid="toast">
          {bad && <Icon name="warning" />}
          <span>{text}</span>
          <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => call.dismiss(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
