/** Bits per second, for people. */
export function bitrate(bits: number | undefined): string {
  if (bits === undefined || !Number.isFinite(bits)) return '–';
  if (bits >= 999_500) return `${(bits / 1_000_000).toFixed(bits >= 9_950_000 ? 0 : 1)} Mbit/s`;
  return `${Math.round(bits / 1000)} kbit/s`;
}

/** Up to two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? '?')][0]?.toUpperCase() ?? '').join('');
}

/** A hue, 0 to 359, that is always the same for the same text and usually another one for another. */
export function hue(text: string): number {
  let hash = 2166136261;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619) >>> 0;
  // Multiples of the golden angle lie far apart.
  return Math.floor((hash % 1009) * 137.508) % 360;
}

/** The time of day. */
export function clock(at: number): string {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** A number of things: "1 peer", "2 peers". */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** A time that is not known better than that, in words. */
export function roughly(seconds: number): string {
  if (seconds <= 8) return 'a few seconds';
  if (seconds < 55) return `about ${Math.ceil(seconds / 5) * 5} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes <= 1 ? 'about a minute' : `about ${minutes} minutes`;
}
