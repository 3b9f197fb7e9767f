/** A real browser for tests of the console. None is downloaded: it is the system's, or the one that `CHROMIUM` names. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  // Nothing of its own may reach out: a test counts requests to other hosts.
  '--disable-background-networking',
  '--no-first-run',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
];

/** Where a browser is, or `undefined`. */
export function findChromium(): string | undefined {
  return [process.env.CHROMIUM, ...CANDIDATES].find((path) => path !== undefined && existsSync(path));
}

export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: FLAGS });
}
