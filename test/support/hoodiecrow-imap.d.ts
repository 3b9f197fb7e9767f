declare module 'hoodiecrow-imap' {
  interface Folder {
    messages?: { raw: string; uid?: number }[];
  }
  interface Hoodiecrow {
    server: import('node:net').Server;
    listen(port: number, ready: () => void): void;
    close(done: () => void): void;
    appendMessage(mailbox: string, flags: string[], date: string | Date, raw: Buffer | string): void;
  }
  export default function hoodiecrow(options: {
    plugins?: string[];
    users?: Record<string, { password: string }>;
    storage?: Record<string, Folder & { folders?: Record<string, Folder> }>;
  }): Hoodiecrow;
}
