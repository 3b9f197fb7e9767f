import type { ComponentChildren } from 'preact';

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg
      class="icon"
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const PlusIcon = () => (
  <Icon>
    <path d="M10 4.5v11M4.5 10h11" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="m5.5 5.5 9 9M14.5 5.5l-9 9" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon>
    <path d="M4 6h12M8 6V4.2h4V6M5.6 6l.7 9.8h7.4l.7-9.8M8.4 9v4M11.6 9v4" />
  </Icon>
);
export const PencilIcon = () => (
  <Icon>
    <path d="m12.8 4.4 2.8 2.8-8.4 8.4-3.4.6.6-3.4z" />
  </Icon>
);
export const SendIcon = () => (
  <Icon>
    <path d="M10 15.5v-11M5.2 9.3 10 4.5l4.8 4.8" />
  </Icon>
);
export const StopIcon = () => (
  <Icon>
    <rect x="5.6" y="5.6" width="8.8" height="8.8" rx="1.6" fill="currentColor" stroke="none" />
  </Icon>
);
export const FileIcon = () => (
  <Icon>
    <path d="M5.5 3.5h6l3.5 3.5v9.5h-9.5zM11.2 3.7V7.2h3.6" />
  </Icon>
);
export const UploadIcon = () => (
  <Icon>
    <path d="M10 13V4.5M6.4 8 10 4.4 13.6 8M4 13v2.8h12V13" />
  </Icon>
);
export const ChatIcon = () => (
  <Icon>
    <path d="M3.8 5h12.4v8.4H9.4L6 16v-2.6H3.8z" />
  </Icon>
);
export const ListIcon = () => (
  <Icon>
    <path d="M4 5.5h12M4 10h12M4 14.5h8" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="m4.8 10.4 3.5 3.5 7-7.6" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <rect x="7" y="7" width="9" height="9" rx="1.6" />
    <path d="M13 4.6V4H4v9h.6" />
  </Icon>
);

/** Turned over by its view for the other verdict. */
export const ThumbIcon = () => (
  <Icon>
    <path d="M7 9.2 9.9 3.6c1.2 0 1.9.9 1.7 2L11.2 8h3.6c1 0 1.7.9 1.5 1.8l-1 5c-.2.7-.8 1.2-1.5 1.2H7zM7 9.2H4.2V16H7" />
  </Icon>
);
export const SlidersIcon = () => (
  <Icon>
    <path d="M4 6h7M14.6 6H16M4 14h1.4M9 14h7" />
    <circle cx="12.8" cy="6" r="1.8" />
    <circle cx="7.2" cy="14" r="1.8" />
  </Icon>
);

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" class="logo-ground" />
      <path
        d="M10 9.5h5.2a6.5 6.5 0 0 1 0 13H10z"
        fill="none"
        class="logo-line"
        stroke-width="2.6"
        stroke-linejoin="round"
      />
      <circle cx="23.4" cy="9.4" r="2.1" class="logo-dot" />
    </svg>
  );
}
