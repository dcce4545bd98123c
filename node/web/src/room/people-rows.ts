/** One line of the list of participants. */
export type Row<Person> = { heading: string; count: number } | { person: Person };

/** A group of people, with its heading where it has one. */
export interface Group<Person> {
  heading?: string;
  people: readonly Person[];
}

/** Names are compared often, and this is many times quicker than each string's own way. */
const collator = new Intl.Collator(undefined, { sensitivity: 'base', numeric: true });

/** Those whose name has all the words that were typed, by name. */
export function matching<Person extends { displayName: string }>(people: Iterable<Person>, typed: string): Person[] {
  const words = typed.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ displayName }: Person) => {
    const name = displayName.toLocaleLowerCase();
    return words.every((word) => name.includes(word));
  };
  return [...people].filter(fits).sort((a, b) => collator.compare(a.displayName, b.displayName));
}

/** All lines. Groups without anyone in them have none. */
export function rowsOf<Person>(groups: readonly Group<Person>[]): Row<Person>[] {
  return groups.flatMap(({ heading, people }): Row<Person>[] => {
    const lines = people.map((person) => ({ person }));
    return heading && people.length ? [{ heading, count: people.length }, ...lines] : lines;
  });
}

/** Which lines of a long list are in sight, or nearly so: the first, and the one after the last. */
export function inSight(
  { top, height }: { top: number; height: number },
  count: number,
  rowHeight: number,
  margin = 8,
): [number, number] {
  const first = Math.floor(top / rowHeight) - margin;
  const last = Math.ceil((top + height) / rowHeight) + margin;
  // Scrolled beyond the end, as when many have left at once, the last lines are shown.
  const end = Math.min(count, Math.max(last, 2 * margin));
  return [Math.max(0, Math.min(first, count - 2 * margin)), end];
}
