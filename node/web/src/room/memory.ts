/** What the page remembers between visits. A browser that keeps nothing is no reason to fail. */
const prefix = 'skein.';

/** What was remembered under this name. */
export function recall(name: string): string {
  try {
    return localStorage.getItem(prefix + name) ?? '';
  } catch {
    return '';
  }
}

/** Remembers it. */
export function remember(name: string, value: string): void {
  try {
    if (value) localStorage.setItem(prefix + name, value);
    else localStorage.removeItem(prefix + name);
  } catch {
    // Private windows and full disks.
  }
}
