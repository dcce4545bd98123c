import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { useWindowEvent } from '../ui/hooks.js';
import { Icon, type IconName } from '../ui/icons.js';

/** A button that opens a small card next to it. Escape, or a click elsewhere, closes it. */
export function Popover({
  icon,
  label,
  testid,
  children,
}: {
  icon: IconName;
  label: string;
  testid: string;
  children: (close: () => void) => ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const element = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const card = useRef<HTMLDivElement>(null);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  useWindowEvent('pointerdown', (event) => {
    if (open && !element.current?.contains(event.target as Node)) setOpen(false);
  });
  useEffect(() => {
    if (open) card.current?.focus();
  }, [open]);
  return (
    <div class="popover" ref={element} onKeyDown={(event) => open && event.key === 'Escape' && close()}>
      <button
        type="button"
        class="icon-button"
        ref={button}
        aria-label={label}
        title={label}
        aria-expanded={open}
        data-testid={testid}
        onClick={() => setOpen(!open)}
      >
        <Icon name={icon} />
      </button>
      {open && (
        <div class="popover-card" ref={card} role="dialog" aria-label={label} tabIndex={-1}>
          {children(close)}
        </div>
      )}
    </div>
  );
}
