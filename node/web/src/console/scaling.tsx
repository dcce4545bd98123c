import { useState } from 'preact/hooks';
import type { MeshStatus, Scaling } from '../protocol.js';
import { Icon } from '../ui/icons.js';
import { bounds, mood, plan, state, step, when } from './scaling-words.js';

/** So many of the last steps are shown at first. */
const FEW = 4;

/** What the leader does about growing and shrinking, and why. */
export function ScalingPanel({ scaling, mesh, problem }: { scaling: Scaling; mesh: MeshStatus; problem: string }) {
  const { text, kind } = mood(scaling, mesh.nodes);
  return (
    <section class="scaling" aria-label="Growing and shrinking" data-testid="scaling" data-mood={kind}>
      <header>
        <h2>Machines</h2>
        <span class={`chip mood-${kind}`} data-testid="scaling-mood">
          {text}
        </span>
        <span class="dim scaling-bounds">{bounds(scaling, mesh.nodes.length)}</span>
      </header>
      {problem && (
        <p class="note" role="status">
          <Icon name="warning" />
          <span>The leader does not say what it does ({problem}). This is what it said last.</span>
        </p>
      )}
      {scaling.alarm !== null && (
        <p class="note bad" role="alert" data-testid="scaling-alarm">
          <Icon name="warning" />
          <span>{scaling.alarm}</span>
        </p>
      )}
      <p data-testid="scaling-plan">{plan(scaling)}</p>
      {scaling.reasons.length > 0 && (
        <ul class="scaling-reasons dim" data-testid="scaling-reasons">
          {scaling.reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
      {scaling.machines.length > 0 && (
        <ul class="machines" aria-label="Launched machines">
          {scaling.machines.map((machine) => (
            <li
              key={machine.node}
              class={`machine machine-${machine.state}`}
              data-testid="machine"
              data-node={machine.node}
              data-state={machine.state}
            >
              <span class="machine-name">{machine.node}</span>
              <span class="dim">
                {machine.kind} · {state(machine)}
              </span>
            </li>
          ))}
        </ul>
      )}
      <Steps scaling={scaling} />
    </section>
  );
}

/** What was done last, the newest first. */
function Steps({ scaling }: { scaling: Scaling }) {
  const [all, setAll] = useState(false);
  const steps = [...scaling.steps].reverse();
  const shown = all ? steps : steps.slice(0, FEW);
  const now = Date.now();
  if (steps.length === 0) return <p class="dim scaling-none">Nothing had to be done since {scaling.leader} leads.</p>;
  return (
    <>
      <ol class="steps" aria-label="Last steps">
        {shown.map(({ at_ms, step: text }) => {
          const { what, why } = step(text);
          return (
            <li key={`${at_ms} ${text}`} data-testid="scaling-step">
              <time dateTime={new Date(at_ms).toISOString()}>{when(at_ms, now)}</time>
              <span>
                <b>{what}</b>
                {why && <span class="dim"> {why}</span>}
              </span>
            </li>
          );
        })}
      </ol>
      {steps.length > FEW && (
        <button type="button" class="button compact scaling-more" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? 'Only the last ones' : `All ${steps.length} steps`}
        </button>
      )}
    </>
  );
}
