import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

interface Import {
  /** A module's name, or a path from the root of the repository. */
  readonly target: string;
  readonly kind: 'static' | 'dynamic' | 'type';
}

const BUILDING_BLOCKS = ['base', 'contract'];

/** Folder of src → the folders it may import from besides itself. The picture is in src/README.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  contract: ['base'],
  host: BUILDING_BLOCKS,
  linux: [...BUILDING_BLOCKS, 'host'],
  collectors: BUILDING_BLOCKS,
  baseline: [...BUILDING_BLOCKS, 'host'],
  detections: BUILDING_BLOCKS,
  pipeline: BUILDING_BLOCKS,
  posture: [...BUILDING_BLOCKS, 'host'],
  network: BUILDING_BLOCKS,
  identity: [...BUILDING_BLOCKS, 'network'],
  config: [...BUILDING_BLOCKS, 'identity'],
  hub: [...BUILDING_BLOCKS, 'network', 'identity'],
  emulator: BUILDING_BLOCKS,
  fleet: [...BUILDING_BLOCKS, 'network'],
  // The top floor, from the bottom up: what knows several peers.
  status: [...BUILDING_BLOCKS, 'detections', 'linux', 'collectors', 'baseline', 'pipeline', 'posture', 'config'],
  methods: [...BUILDING_BLOCKS, 'collectors', 'pipeline', 'config', 'status'],
  'lifeline.ts': ['base', 'linux', 'status'],
  'reader-main.ts': ['base', 'linux', 'baseline'],
  'hardware-main.ts': ['base', 'cli'],
  'shipped-main.ts': ['base'],
  agent: [
    ...BUILDING_BLOCKS,
    ...['linux', 'collectors', 'baseline', 'pipeline', 'posture', 'config', 'hub', 'status', 'methods', 'lifeline.ts'],
    ...['network', 'identity', 'detections'],
  ],
  'agent.ts': ['base', 'linux', 'collectors', 'config', 'agent'],
  cli: [
    ...[...BUILDING_BLOCKS, 'host', 'linux', 'collectors', 'baseline', 'pipeline', 'config', 'hub', 'emulator'],
    ...['network', 'identity', 'detections', 'posture', 'status', 'agent.ts', 'fleet'],
  ],
  'main.ts': ['base', 'linux', 'hub', 'cli'],
};

const read = (folder: string): SourceFile[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ path: join(folder, file), text: readFileSync(join(folder, file), 'utf8') }));

/** The text without comments; a `//` within a string, as in a URL, is none. */
const code = (text: string) =>
  text.replace(/\/\*[\s\S]*?\*\/|(^|[^:'"`])\/\/[^\n]*/gm, (_comment, before: string | undefined) => before ?? '');

const IMPORTS =
  /\b(import|export)\s+(type\s)?[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*['"]([^'"]+)['"]|\b(?:import|require|require\.resolve)\s*\(\s*['"`]([^'"`]+)['"`]/g;

function imports({ path, text }: SourceFile): Import[] {
  return [...code(text).matchAll(IMPORTS)].map((match): Import => {
    const [, , type, from, forEffect, called] = match;
    const name = from ?? forEffect ?? called ?? '';
    const target = name.startsWith('.') ? normalize(join(dirname(path), name)) : name;
    return { target, kind: called !== undefined ? 'dynamic' : type !== undefined ? 'type' : 'static' };
  });
}

const ownerOf = (path: string) => path.split('/')[1] ?? '';
/** Files of /proc/PID for which the kernel takes the process's mmap_lock, or waits for its execve(2); see proc(5). */
const MEMORY_FILES =
  '(?:auxv|clear_refs|cmdline|environ|io|map_files|maps|mem|numa_maps|pagemap|smaps|smaps_rollup|stack|syscall)';

const inSource = ({ target }: Import) => target.startsWith('src/');
const inFolder = (folder: string) => (path: string) => path.startsWith(`src/${folder}/`);
const inFile =
  (...files: string[]) =>
  (path: string) =>
    files.includes(path);

/** Each rule says what is wrong with a file; planted texts below show that each can. */
const RULES: Readonly<Record<string, (file: SourceFile) => string[]>> = {
  'every folder imports only from the floors below it': (file) => {
    const owner = ownerOf(file.path);
    const allowed = MAY_IMPORT[owner];
    if (allowed === undefined) return [`${owner} has no place in the picture`];
    return imports(file)
      .filter(inSource)
      .map(({ target }) => ownerOf(target))
      .filter((target) => target !== owner && !allowed.includes(target));
  },

  'time is read and waited for only in base/clock.ts': (file) =>
    found(
      file,
      /(?<!\bmqttBase\.)\bset(?:Timeout|Interval)\b|\bDate\.now\b|\bperformance\.now\b|\bAbortSignal\.timeout\b|['"](?:node:)?timers(?:\/promises)?['"]|\bnew Date\(\s*\)|\bhrtime\b/g,
      // A browser has no such clock, and its page is tested in one.
      (path) => inFile('src/core/base/clock.ts')(path) || inFolder('cli/page/browser')(path),
    ),

  'the agent reads whole files of unknown kind and size only with limits': (file) =>
    found(
      file,
      /\b(?:readFile(?:Sync|IfThere)?|createReadStream)\((?!\s*['"`]\/proc\/)/g,
      // Commands, files that are installed with the program, descriptors that were checked, and files of the kernel's.
      (path) =>
        ['cli', 'emulator', 'fleet'].some((folder) => inFolder(folder)(path)) ||
        inFile(
          ...[
            'src/agent/shipped-main.ts',
            'src/core/base/atomic-file.ts',
            'src/core/base/version.ts',
            'src/core/base/code-cache.ts',
          ],
          ...['src/agent/baseline/rule-set.ts', 'src/agent/detections/built-in.ts', 'src/agent/host/proc-folder.ts'],
          'src/agent/detections/alerts/exception-effect.ts',
        )(path),
    ),

  'only hub/ names the Azure SDK and MQTT': (file) =>
    importsOf(file, /^(?:azure-(?!iothub)|mqtt$|mqtt\/)/, inFolder('hub')),

  'only fleet/ names the service SDK': (file) => importsOf(file, /^(?:azure-iothub|@azure\/)/, inFolder('fleet')),

  'only vakt fleet loads fleet/, and only when it is called': (file) =>
    imports(file)
      .filter(({ target }) => /^src\/(?:cli\/)?fleet\//.test(target))
      .filter(() => !inFolder('fleet')(file.path) && !inFolder('cli/fleet')(file.path))
      .filter(({ kind }) => kind !== 'dynamic' || !inFile('src/fleet/commands/fleet.ts')(file.path))
      .map(({ target }) => target),

  // The provisioning service is asked before there is a hub, and needs packets but none of MQTT.js's sessions.
  'only hub/ and identity/provisioning/ read and write packets of MQTT': (file) =>
    importsOf(file, /^mqtt-packet/, (path) => inFolder('hub')(path) || inFolder('identity/provisioning')(path)),

  'only the emulator names its broker and its certificate maker': (file) =>
    importsOf(file, /^(?:aedes|@peculiar\/|reflect-metadata)/, inFolder('emulator')),

  'only two commands load the emulator and its page, and only when they are called': (file) =>
    imports(file)
      .filter(({ target }) => {
        const isOfEmulator = target.startsWith('src/emulator/') && !inFolder('emulator')(file.path);
        return (isOfEmulator || target.startsWith('src/emulator/page/')) && !inFolder('cli/page')(file.path);
      })
      .filter(
        ({ kind }) =>
          kind === 'static' || !inFile('src/emulator/commands/demo.ts', 'src/emulator/commands/emulator.ts')(file.path),
      )
      .map(({ target }) => target),

  'what runs in the browser imports only from there, and from files that need nothing of Node': (file) =>
    inFolder('cli/page/browser')(file.path)
      ? imports(file)
          .map(({ target }) => target)
          .filter((target) => !inFolder('cli/page/browser')(target))
          .filter((target) => !inFile('src/emulator/page/protocol.ts', 'src/core/base/printable.ts')(target))
      : [],

  'signals are combined by base/either-signal.ts, since AbortSignal.any leaks on Node 20': (file) =>
    found(
      file,
      /\bAbortSignal\.any\b/g,
      // Called once, or once for each scan.
      (path) =>
        inFolder('cli')(path) || inFile('src/core/base/later.ts', 'src/agent/baseline/isolated-scanner.ts')(path),
    ),

  'only main.ts ends the process': (file) => found(file, /\bprocess\.(?:exit|abort)\b/g, inFile('src/main.ts')),

  'only the demo, make-code-cache, the reader, cli/hardware/ and host/run-tool.ts start other programs': (file) =>
    importsOf(
      file,
      /^(?:node:)?child_process$/,
      inFile(
        'src/emulator/commands/demo.ts',
        'src/agent/commands/make-code-cache.ts',
        'src/agent/commands/hardware/ask.ts',
        'src/core/base/reader/child.ts',
        'src/agent/host/run-tool.ts',
      ),
    ),

  'only the child process of --hardware names systeminformation, which runs shells': (file) =>
    importsOf(file, /^systeminformation/, inFile('src/agent/hardware-main.ts')),

  "only the reader's kinds read what another process's memory lock blocks": (file) =>
    found(
      file,
      new RegExp(
        // The kernel's own /proc/cmdline is none of them, nor is its setting for systemd-boot.
        `(?<!/proc|\\$\\{proc\\}|etc/kernel)/${MEMORY_FILES}(?=['"\`])|['"\`](?:cmdline|environ|maps|smaps|mem)['"\`](?!\\s*:)`,
        'g',
      ),
      // A scan of the baseline runs in a reader; the two files in self/ read the agent's own mappings.
      (path) =>
        inFolder('linux/processes/memory')(path) ||
        inFile(
          'src/agent/baseline/access.ts',
          'src/agent/linux/self/own-memory.ts',
          'src/agent/linux/self/unused-memory.ts',
        )(path),
    ),

  'nothing runs a shell': (file) =>
    found(
      file,
      /\bexecSync\b|\bshell\s*:\s*(?:true|['"`])|\{[^}]*\bexec\b[^}]*\}\s*from\s*['"](?:node:)?child_process['"]/g,
      // Names functions that it looks for in the command lines of others.
      inFile('src/agent/detections/views/one-liners.ts'),
    ),

  'nothing is exported as default': (file) => found(file, /\bexport\s+default\b|\bas\s+default\b/g, () => false),
};

const found = ({ path, text }: SourceFile, what: RegExp, allowed: (path: string) => boolean): string[] =>
  allowed(path) ? [] : [...code(text).matchAll(what)].map(([match]) => match);

const importsOf = (file: SourceFile, what: RegExp, allowed: (path: string) => boolean): string[] =>
  allowed(file.path)
    ? []
    : imports(file)
        .map(({ target }) => target)
        .filter((target) => what.test(target));

/** Files that import one another, directly or through others, types included: what must be read, and changed, together. */
const circles = (files: readonly SourceFile[]): string[][] =>
  circlesIn(new Map(files.map((file) => [file.path, imports(file).map(({ target }) => target)])));

/** The same for folders: what stands for a file is `folderOf` its path. Imports within one folder don't count. */
function folderCircles(files: readonly SourceFile[], folderOf: (path: string) => string): string[][] {
  const graph = new Map<string, string[]>();
  for (const file of files) {
    const folder = folderOf(file.path);
    const targets = imports(file)
      .filter(inSource)
      .map(({ target }) => folderOf(target));
    graph.set(folder, [...(graph.get(folder) ?? []), ...targets.filter((target) => target !== folder)]);
  }
  return circlesIn(graph);
}

/** A folder with all that is below it, directly in src/agent/linux: `src/agent/linux/audit`. */
const folderOfLinux = (path: string) => path.split('/').slice(0, 3).join('/');

function circlesIn(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  // Tarjan, Depth-first search and linear graph algorithms, 1972.
  const visit = (path: string) => {
    order.set(path, order.size);
    lowest.set(path, order.get(path) ?? 0);
    open.push(path);
    for (const target of graph.get(path) ?? []) {
      if (!graph.has(target)) continue;
      if (!order.has(target)) visit(target);
      else if (!open.includes(target)) continue;
      lowest.set(path, Math.min(lowest.get(path) ?? 0, lowest.get(target) ?? 0));
    }
    if (lowest.get(path) !== order.get(path)) return;
    const circle = open.splice(open.indexOf(path));
    if (circle.length > 1 || graph.get(path)?.includes(path)) found.push(circle.sort());
  };
  for (const path of graph.keys()) if (!order.has(path)) visit(path);
  return found;
}

const PLANTED_CIRCLES: Readonly<Record<string, { files: Record<string, string>; circles: string[][] }>> = {
  'two files': {
    files: { 'src/hub/a.ts': "import { b } from './b.ts';", 'src/hub/b.ts': "import { a } from './a.ts';" },
    circles: [['src/hub/a.ts', 'src/hub/b.ts']],
  },
  'types of two files': {
    files: { 'src/hub/a.ts': "import type { B } from './b.ts';", 'src/hub/b.ts': "export * from './a.ts';" },
    circles: [['src/hub/a.ts', 'src/hub/b.ts']],
  },
  'three files beside others': {
    files: {
      'src/cli/main.ts': "import { a } from '../hub/a.ts'; import { c } from '../hub/c.ts';",
      'src/hub/a.ts': "import { b } from './b.ts'; import { d } from './d.ts';",
      'src/hub/b.ts': "const c = await import('./deep/c.ts');",
      'src/hub/deep/c.ts': "import { a } from '../a.ts';",
      'src/hub/d.ts': '',
    },
    circles: [['src/hub/a.ts', 'src/hub/b.ts', 'src/hub/deep/c.ts']],
  },
  'no circle, though one file is reached by two ways': {
    files: {
      'src/hub/a.ts': "import { b } from './b.ts'; import { c } from './c.ts';",
      'src/hub/b.ts': "import { c } from './c.ts';",
      'src/hub/c.ts': "// import { a } from './a.ts';",
    },
    circles: [],
  },
};

const PLANTED_FOLDER_CIRCLES: Readonly<
  Record<string, { files: Record<string, string>; each: string[][]; whole: string[][] }>
> = {
  'a folder and the one within it': {
    files: {
      'src/linux/native/a.ts': "import { b } from './netlink/b.ts';",
      'src/linux/native/netlink/b.ts': '',
      'src/linux/native/netlink/c.ts': "import { d } from '../d.ts';",
      'src/linux/native/d.ts': '',
    },
    each: [['src/agent/linux/native', 'src/agent/linux/native/netlink']],
    whole: [],
  },
  'two folders, by way of one that is within another': {
    files: {
      'src/linux/logins/a.ts': "import type { B } from '../sockets/connections/b.ts';",
      'src/linux/sockets/connections/b.ts': '',
      'src/linux/sockets/c.ts': "import { d } from '../logins/d.ts';",
      'src/linux/logins/d.ts': "import { a } from './a.ts';",
    },
    each: [],
    whole: [['src/agent/linux/logins', 'src/agent/linux/sockets']],
  },
  'no circle': {
    files: {
      'src/agent/linux/events.ts': "import { a } from './streams/a.ts'; import { b } from './logins/b.ts';",
      'src/linux/streams/a.ts': "import { b } from '../logins/b.ts'; import { c } from './c.ts';",
      'src/linux/logins/b.ts': "import { clock } from '../../base/clock.ts';",
      'src/linux/streams/c.ts': '',
    },
    each: [],
    whole: [],
  },
};

/** Texts that break a rule, and texts that look as if they did. */
const PLANTED: Readonly<Record<string, { breaks: Record<string, string>; keeps: Record<string, string> }>> = {
  'every folder imports only from the floors below it': {
    breaks: {
      'src/base/a.ts': "import { x } from '../contract/event.ts';",
      'src/contract/a.ts': "import type { x } from '../hub/session.ts';",
      'src/linux/audit/b.ts': "import { x } from '../../collectors/index.ts';",
      'src/linux/deep/er/c.ts': "const x = await import('../../../hub/session.ts');",
      'src/host/a.ts': "import { x } from '../linux/sources.ts';",
      'src/network/a.ts': "import { x } from '../hub/session.ts';",
      'src/host/b.ts': "import type { System } from '../baseline/system.ts';",
      'src/collectors/a.ts': "import '../linux/sources.ts';",
      'src/collectors/b.ts': "import { parseMounts } from '../host/mounts.ts';",
      'src/baseline/a.ts': "import { Firewall } from '../linux/firewall/firewall.ts';",
      'src/pipeline/a.ts': "import {\n  a,\n  b,\n} from '../config/twin.ts';",
      'src/posture/a.ts': "import { listeningPorts } from '../collectors/listening-ports.ts';",
      'src/pipeline/b.ts': "import { c } from '../status/observe.ts';",
      'src/config/a.ts': "export { x } from '../pipeline/pack.ts';",
      'src/hub/a.ts': "export * from '../emulator/sas.ts';",
      'src/emulator/a.ts': "import { sign } from '../hub/sas-token.ts';",
      'src/fleet/a.ts': "import { readTwin } from '../config/twin.ts';",
      'src/utils/a.ts': '',
      'src/status/a.ts': "import { ping } from '../methods/ping.ts';",
      'src/methods/a.ts': "import { AzureHubClient } from '../hub/azure-client.ts';",
      'src/agent/lifeline.ts': "import type { Publisher } from './pipeline/publisher.ts';",
      'src/agent/agent.ts': "import { run } from './cli/run.ts';",
      'src/agent/a.ts': "import { agent } from '../agent.ts';",
      'src/cli/a.ts': "import { ping } from '../methods/ping.ts';",
      'src/agent/reader-main.ts': "import { agent } from './agent.ts';",
      'src/main.ts': "import { agent } from './agent.ts';",
    },
    keeps: {
      'src/base/a.ts': "import { x } from './clock.ts';",
      'src/linux/audit/a.ts': "import { x } from '../netlink/socket.ts';",
      'src/linux/audit/b.ts': "import { parseStat } from '../../host/proc-folder.ts';",
      'src/baseline/a.ts': "import { parseMounts } from '../host/mounts.ts';",
      'src/posture/firewall/a.ts': "import { isLoopback } from '../../host/ip-address.ts';",
      'src/hub/identity/a.ts': "import { x } from '../../contract/hub.ts';",
      'src/hub/a.ts': "import { Network } from '../network/network.ts';",
      'src/config/a.ts': "// import { x } from '../hub/session.ts';",
      'src/cli/a.ts': "import { x } from '../hub/session.ts';",
      'src/agent/agent.ts': "import { createHub } from './agent/hub.ts';",
      'src/agent/a.ts': "import { methods } from '../methods/index.ts';",
      'src/methods/a.ts': "import type { LocalStatus } from '../status/schema.ts';",
    },
  },
  'time is read and waited for only in base/clock.ts': {
    breaks: {
      'src/core/base/alarm.ts': 'setTimeout(ring, 1);',
      'src/hub/a.ts': 'globalThis.setInterval(ring, 1);',
      'src/hub/b.ts': 'const now = Date.now();',
      'src/hub/c.ts': 'const now = performance.now();',
      'src/hub/d.ts': 'await fetch(x, { signal: AbortSignal.timeout(5) });',
      'src/hub/e.ts': "import { setTimeout as sleep } from 'node:timers/promises';",
      'src/hub/f.ts': 'const now = new Date();',
      'src/hub/g.ts': 'process.hrtime.bigint();',
      'src/emulator/page/feed.ts': 'setInterval(send, 1_000);',
    },
    keeps: {
      'src/core/base/clock.ts': 'setTimeout(ring, Date.now());',
      'src/hub/a.ts': '/* setTimeout is for the clock */ const then = new Date(5);',
      'src/cli/page/browser/a.ts': 'setInterval(draw, 1_000);',
      'src/hub/b.ts': 'mqttBase.setTimeout(60);', // a limit of the SDK's, and no timer
    },
  },
  'only hub/ names the Azure SDK and MQTT': {
    breaks: {
      'src/agent/agent.ts': "import device from 'azure-iot-device';",
      'src/cli/a.ts': "const { Mqtt } = await import('azure-iot-device-mqtt');",
      'src/emulator/a.ts': "import mqtt from 'mqtt';",
      'src/identity/provisioning/a.ts': "import mqtt from 'mqtt';",
      'src/pipeline/a.ts': "const Message = require('azure-iot-common');",
    },
    keeps: {
      'src/hub/identity/a.ts': "import device from 'azure-iot-device';",
      'src/emulator/a.ts':
        "import { MqttServer } from './mqtt-server.ts'; // https://learn.microsoft.com/azure-iot 'azure-iot'",
    },
  },
  'only fleet/ names the service SDK': {
    breaks: {
      'src/cli/fleet/a.ts': "import azureIotHub from 'azure-iothub';",
      'src/hub/a.ts': "import { DeviceMethod } from 'azure-iothub/dist/device_method.js';",
      'src/identity/a.ts': "await import('@azure/identity');",
    },
    keeps: { 'src/fleet/a.ts': "import azureIotHub from 'azure-iothub'; await import('@azure/identity');" },
  },
  'only vakt fleet loads fleet/, and only when it is called': {
    breaks: {
      'src/fleet/commands/fleet.ts': "import { runFleet } from './fleet/run.ts';",
      'src/agent/commands/status.ts': "const { x } = await import('../fleet/service.ts');",
      'src/agent/agent.ts': "import type { HubService } from './fleet/service.ts';",
    },
    keeps: {
      'src/fleet/commands/fleet.ts': "await import('./fleet/run.ts');",
      'src/fleet/commands/run.ts': "import { HubService } from '../../fleet/service.ts'; import { a } from './a.ts';",
      'src/main.ts': "const x = () => import('./cli/fleet.ts');",
      'src/fleet/a.ts': "import { b } from './b.ts';",
    },
  },
  'the agent reads whole files of unknown kind and size only with limits': {
    breaks: {
      'src/pipeline/a.ts': 'const text = readFileIfThere(this.#file);',
      'src/hub/a.ts': "JSON.parse(readFileSync(join(folder, 'x.json'), 'utf8'));",
      'src/agent/a.ts': 'await readFile(path);',
      'src/linux/a.ts': 'createReadStream(path)',
    },
    keeps: {
      'src/linux/a.ts': "readFileSync('/proc/self/status', 'latin1'); readFileSync(`/proc/1/stat`);",
      'src/cli/a.ts': 'readFileSync(path)',
      'src/core/base/read-state.ts': 'readOwnFile(path, 1_024)',
    },
  },
  'only hub/ and identity/provisioning/ read and write packets of MQTT': {
    breaks: {
      'src/main.ts': "import 'mqtt-packet';",
      'src/identity/a.ts': "const packets = await import('mqtt-packet');",
      'src/network/a.ts': "import mqttPacket from 'mqtt-packet';",
    },
    keeps: {
      'src/hub/a.ts': "import mqttPacket from 'mqtt-packet';",
      'src/identity/provisioning/a.ts': "import mqttPacket, { type Packet } from 'mqtt-packet';",
    },
  },
  'only the emulator names its broker and its certificate maker': {
    breaks: {
      'src/hub/a.ts': "import { Aedes } from 'aedes';",
      'src/cli/a.ts': "await import('@peculiar/x509');",
    },
    keeps: { 'src/emulator/a.ts': "import { Aedes } from 'aedes';" },
  },
  'what runs in the browser imports only from there, and from files that need nothing of Node': {
    breaks: {
      'src/cli/page/browser/a.ts': "import { rowOf } from '../rows.ts';",
      'src/cli/page/browser/b.ts': "import { join } from 'node:path';",
    },
    keeps: {
      'src/cli/page/browser/a.ts': "import { b } from './b.ts'; import type { Hello } from '../protocol.ts';",
      'src/cli/page/b.ts': "import { join } from 'node:path';",
    },
  },
  'only two commands load the emulator and its page, and only when they are called': {
    breaks: {
      'src/emulator/commands/demo.ts': "import { HubEmulator } from '../emulator/hub.ts';",
      'src/emulator/commands/emulator.ts': "import '../emulator/hub.ts';",
      'src/agent/commands/check.ts': "const { x } = await import('../emulator/hub.ts');",
      'src/agent/agent.ts': "import type { HubEmulator } from './emulator/hub.ts';",
      'src/agent/commands/status.ts': "await import('./page/page.ts');",
      'src/main.ts': "import type { Page } from './cli/page/page.ts';",
    },
    keeps: {
      'src/emulator/page/page.ts':
        "import { TwinError } from '../../emulator/twin-limits.ts'; import { Feed } from './feed.ts';",
      'src/emulator/commands/emulator.ts': "const open = () => import('./page/page.ts');",
      'src/emulator/commands/demo.ts':
        "import type { HubEmulator } from '../emulator/hub.ts';\nawait import('../emulator/hub.ts');",
      'src/main.ts': "const x = () => import('./cli/emulator.ts');",
      'src/emulator/a.ts': "import { HubEmulator } from './hub.ts';",
    },
  },
  'signals are combined by base/either-signal.ts, since AbortSignal.any leaks on Node 20': {
    breaks: { 'src/hub/a.ts': 'const end = AbortSignal.any([one, other]);' },
    keeps: { 'src/hub/a.ts': '// not AbortSignal.any', 'src/cli/a.ts': 'AbortSignal.any([one, other]);' },
  },
  'only main.ts ends the process': {
    breaks: { 'src/agent/commands/run.ts': 'process.exit(1);', 'src/agent/agent.ts': 'process.abort();' },
    keeps: { 'src/main.ts': 'process.exit(1);', 'src/agent/commands/run.ts': 'process.exitCode = 1;' },
  },
  'only the demo, make-code-cache, the reader, cli/hardware/ and host/run-tool.ts start other programs': {
    breaks: {
      'src/linux/a.ts': "import { execFile } from 'node:child_process';",
      'src/agent/commands/run.ts': "import { spawn } from 'child_process';",
    },
    keeps: {
      'src/emulator/commands/demo.ts': "import { spawn } from 'node:child_process';",
      'src/agent/host/run-tool.ts': "import { execFile } from 'node:child_process';",
    },
  },
  'only the child process of --hardware names systeminformation, which runs shells': {
    breaks: {
      'src/linux/a.ts': "const { battery } = await import('systeminformation');",
      'src/agent/commands/hardware/ask.ts': "import si from 'systeminformation';",
    },
    keeps: { 'src/agent/hardware-main.ts': "await import('systeminformation');" },
  },
  "only the reader's kinds read what another process's memory lock blocks": {
    breaks: {
      'src/linux/a.ts': `readFileSync(\`/proc/\${pid}/cmdline\`);`,
      'src/linux/b.ts': "read(join(proc, String(pid), 'environ'));",
      'src/linux/c.ts': `this.#readIfThere(\`\${pid}/cmdline\`);`,
      'src/cli/d.ts': "open('/proc/1/environ')",
      'src/baseline/e.ts': "files.text('/proc/1/maps')",
      'src/collectors/f.ts': 'readFileSync("/proc/" + pid + "/smaps_rollup")',
    },
    keeps: {
      'src/linux/processes/memory/a.ts': `readFileSync(\`/proc/\${pid}/cmdline\`);`,
      'src/cli/check/a.ts': `exists('etc/kernel/cmdline')`,
      'src/agent/linux/machine/system-facts.ts': `read(\`\${proc}/cmdline\`); read('/proc/cmdline');`,
      'src/linux/a.ts': `read(\`\${pid}/stat\`); // not \`\${pid}/cmdline\``,
    },
  },
  'nothing runs a shell': {
    breaks: {
      'src/emulator/commands/demo.ts': "import { type ChildProcess, exec } from 'node:child_process';",
      'src/cli/a.ts': "execSync('ls');",
      'src/cli/b.ts': "spawn('ls', [], { shell: true });",
    },
    keeps: {
      'src/emulator/commands/demo.ts': "import { execFile, spawn } from 'node:child_process'; /x/.exec('x');",
      'src/agent/detections/views/one-liners.ts': "const EXECUTING = ['execSync'];",
    },
  },
  'nothing is exported as default': {
    breaks: { 'src/hub/a.ts': 'export default class {}', 'src/hub/b.ts': 'export { x as default };' },
    keeps: { 'src/hub/a.ts': "import x from 'x'; // export default" },
  },
};

describe('architecture', () => {
  const sources = read('src');

  it('finds the sources', () => {
    for (const folder of Object.keys(MAY_IMPORT))
      assert.ok(
        sources.some(({ path }) => ownerOf(path) === folder),
        folder,
      );
  });

  it('has a place for every folder and file of src', () => {
    const places = new Set(Object.keys(MAY_IMPORT));
    assert.deepEqual(
      sources.map(({ path }) => ownerOf(path)).filter((owner) => !places.has(owner)),
      [],
    );
  });

  describe('no files import one another in a circle', () => {
    it('holds', () => assert.deepEqual(circles(sources), []));

    for (const [what, { files, circles: expected }] of Object.entries(PLANTED_CIRCLES))
      it(`finds ${what}`, () =>
        assert.deepEqual(circles(Object.entries(files).map(([path, text]) => ({ path, text }))), expected));
  });

  describe('no folders of linux/ import one another in a circle', () => {
    const linux = sources.filter(({ path }) => inFolder('linux')(path));

    it('holds for each folder', () => assert.deepEqual(folderCircles(linux, dirname), []));
    it('holds for folders with those in them', () => assert.deepEqual(folderCircles(linux, folderOfLinux), []));

    for (const [what, { files, each, whole }] of Object.entries(PLANTED_FOLDER_CIRCLES)) {
      const planted = Object.entries(files).map(([path, text]) => ({ path, text }));
      it(`finds ${what}`, () => {
        assert.deepEqual(folderCircles(planted, dirname), each);
        assert.deepEqual(folderCircles(planted, folderOfLinux), whole);
      });
    }
  });

  for (const [rule, check] of Object.entries(RULES)) {
    describe(rule, () => {
      it('holds', () => {
        const broken = sources.flatMap((file) => check(file).map((what) => `${file.path}: ${what}`));
        assert.deepEqual(broken, []);
      });

      for (const [path, text] of Object.entries(PLANTED[rule]?.breaks ?? {})) {
        it(`would be broken in ${path} by ${text.replaceAll('\n', ' ')}`, () =>
          assert.notDeepEqual(check({ path, text }), []));
      }

      for (const [path, text] of Object.entries(PLANTED[rule]?.keeps ?? {})) {
        it(`is not broken in ${path} by ${text.replaceAll('\n', ' ')}`, () =>
          assert.deepEqual(check({ path, text }), []));
      }

      it('is tried on texts that break it', () => assert.ok(Object.keys(PLANTED[rule]?.breaks ?? {}).length > 0));
    });
  }
});
