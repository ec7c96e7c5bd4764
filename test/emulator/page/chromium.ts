import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page as Tab } from 'playwright-core';

/** Where Debian, Ubuntu and Fedora put it. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const program = PLACES.find((path) => existsSync(path));

/** Why there is no browser to test in; `undefined` if there is one. */
export const NO_CHROMIUM = program === undefined ? 'there is no Chromium (Debian package: chromium)' : undefined;

/** The name leads to this machine, as an attacker's name can. */
export const REBOUND = 'rebound.test';

export const startChromium = (): Promise<Browser> =>
  chromium.launch({
    executablePath: program ?? '',
    // Chromium refuses to run as root with its sandbox; in a container /dev/shm may be too small for it.
    args: ['--no-sandbox', '--disable-dev-shm-usage', `--host-resolver-rules=MAP ${REBOUND} 127.0.0.1`],
  });

/** What happened in a tab that must not. */
export interface Watched {
  readonly tab: Tab;
  /** Addresses of requests, all of them. */
  readonly requests: string[];
  /** Exceptions, dialogs, messages of the console: a broken policy is one. */
  readonly complaints: string[];
}

/** Opens a tab, and writes down what goes on in it. */
export async function openTab(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<Watched> {
  const tab = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  tab.setDefaultTimeout(40_000);
  const requests: string[] = [];
  const complaints: string[] = [];
  tab.on('request', (request) => requests.push(request.url()));
  tab.on('pageerror', ({ message }) => complaints.push(message));
  tab.on('console', (line) => complaints.push(line.text()));
  tab.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await tab.goto(address);
  return { tab, requests, complaints };
}
