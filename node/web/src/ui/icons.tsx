// Line drawings on a grid of 24, drawn here so that no font or image has to be fetched.
export const drawings = {
  mic: 'M12 3.5a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0v-5a3 3 0 0 1 3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5v3',
  micOff: 'M9 9.5v2a3 3 0 0 0 4.9 2.3M15 10.8V6.5a3 3 0 0 0-5.7-1.3M5.5 11a6.5 6.5 0 0 0 10.4 5.2M18.5 11a6.4 6.4 0 0 1-.6 2.7M12 17.5v3M4 4l16 16',
  camera: 'M4.5 6.5h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM15.5 10.5l6-3.5v10l-6-3.5',
  cameraOff: 'M9.5 6.5h4a2 2 0 0 1 2 2v4M15.5 15.5a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2M15.5 10.5l6-3.5v10l-3-1.8M4 4l16 16',
  screen: 'M4 4.5h16a1.5 1.5 0 0 1 1.5 1.5v9.5a1.5 1.5 0 0 1-1.5 1.5H4a1.5 1.5 0 0 1-1.5-1.5V6A1.5 1.5 0 0 1 4 4.5zM8.5 20.5h7M12 14V8M9.3 10.5L12 7.8l2.7 2.7',
  screenOff: 'M4 4.5h16a1.5 1.5 0 0 1 1.5 1.5v9.5a1.5 1.5 0 0 1-1.5 1.5H4a1.5 1.5 0 0 1-1.5-1.5V6A1.5 1.5 0 0 1 4 4.5zM8.5 20.5h7M9.5 8.2l5 5M14.5 8.2l-5 5',
  chat: 'M5 4.5h14a2 2 0 0 1 2 2v8.5a2 2 0 0 1-2 2h-7l-4.5 3.5V17H5a2 2 0 0 1-2-2V6.5a2 2 0 0 1 2-2zM7.5 9h9M7.5 12.5h6',
  people: 'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5c0-3.3 2.9-5.5 6.5-5.5s6.5 2.2 6.5 5.5M15.5 4.8a3.5 3.5 0 0 1 0 6.4M18 14.6c2.1.8 3.5 2.6 3.5 4.9',
  settings: 'M4 7.5h8M18 7.5h2M4 16.5h2M12 16.5h8M15 10a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM9 19a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  leave: 'M3.2 15.3l2.6-.6a1.3 1.3 0 0 0 1-1.1l.2-1.6a13.5 13.5 0 0 1 10 0l.2 1.6a1.3 1.3 0 0 0 1 1.1l2.6.6a1.2 1.2 0 0 0 1.5-1.1c.1-2.3-1-3.9-3-4.9a16.8 16.8 0 0 0-14.6 0c-2 1-3.1 2.6-3 4.9a1.2 1.2 0 0 0 1.5 1.1z',
  link: 'M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 0 0 5.7 5.7l1.6-1.6',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 7.8v.1',
  grid: 'M4 4.5h6.5V11H4zM13.5 4.5H20V11h-6.5zM4 14h6.5v5.5H4zM13.5 14H20v5.5h-6.5z',
  spotlight: 'M4 4.5h16v9.5H4zM4 17h4v2.5H4zM10 17h4v2.5h-4zM16 17h4v2.5h-4z',
  pin: 'M9 3.5h6l-.8 6 3.3 3.5h-11l3.3-3.5zM12 13v7.5',
  unpin: 'M9.5 3.5H15l-.8 6 3.3 3.5M9.7 8.8l-.2.7L6.5 13H13M12 13v7.5M4 4l16 16',
  close: 'M6 6l12 12M18 6L6 18',
  send: 'M4 12l16-8-5.5 16-3-6.5zM11.5 13.5L20 4',
  speaker: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11',
  warning: 'M12 4l9 15.5H3zM12 10v4.5M12 17v.1',
  check: 'M5 12.5l4.5 4.5L19 7',
  remove: 'M10 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3 19.5c0-3.3 3.1-5.5 7-5.5 1.6 0 3 .4 4.2 1M16 16l5 5M21 16l-5 5',
  refresh: 'M20 12a8 8 0 1 1-2.3-5.6M20 3.5v5h-5',
  home: 'M4 11.5L12 4.5l8 7M6.5 10v9.5h11V10',
  crown: 'M4 17.5h16M4.5 14.5L3.5 7l5 3.5L12 5l3.5 5.5 5-3.5-1 7.5z',
  stepDown: 'M12 4.5v10.5M7 10.5l5 5 5-5M5 19.5h14',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.2 15.2L20 20',
  back: 'M14.5 5.5L8 12l6.5 6.5',
};

/** The name of a drawing. */
export type IconName = keyof typeof drawings;

/** A drawing, of the size and colour of the text around it. What it means is said by the text, or by the button's label. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={drawings[name]} />
    </svg>
  );
}

/** Skein's mark. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M4 9c8 0 16 14 24 14" class="mark-a" />
      <path d="M4 23c8 0 16-14 24-14" class="mark-b" />
      <path d="M4 16h24" class="mark-c" />
    </svg>
  );
}
