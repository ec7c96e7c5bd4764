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

const BUILDING_BLOCKS = ['core/base', 'core/contract'];
const CORE = [...BUILDING_BLOCKS, 'core/network', 'core/twin', 'core/command-line'];

/** Folder of src → the folders it may import from besides itself. The picture is in src/README.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'core/base': [],
  'core/contract': ['core/base'],
  'core/network': BUILDING_BLOCKS,
  'core/twin': BUILDING_BLOCKS,
  'core/command-line': BUILDING_BLOCKS,
  emulator: CORE,
  fleet: CORE,
  // Folders that several other folders of the agent build on.
  'agent/state': BUILDING_BLOCKS,
  'agent/pattern': BUILDING_BLOCKS,
  'agent/host': [...BUILDING_BLOCKS, 'agent/pattern'],
  'agent/reader': [...BUILDING_BLOCKS, 'agent/host'],
  'agent/identity': [...BUILDING_BLOCKS, 'core/network', 'agent/state'],
  'agent/detections': [...BUILDING_BLOCKS, 'agent/state', 'agent/pattern'],
  // Peers.
  'agent/linux': [...BUILDING_BLOCKS, 'agent/state', 'agent/host', 'agent/reader'],
  'agent/collectors': BUILDING_BLOCKS,
  'agent/baseline': [...BUILDING_BLOCKS, 'agent/host', 'agent/pattern', 'agent/reader'],
  'agent/pipeline': [...BUILDING_BLOCKS, 'agent/state'],
  'agent/posture': [...BUILDING_BLOCKS, 'agent/host', 'agent/state'],
  'agent/config': [...BUILDING_BLOCKS, 'core/network', 'core/twin', 'agent/state', 'agent/identity'],
  'agent/hub': [...BUILDING_BLOCKS, 'core/network', 'core/twin', 'agent/state', 'agent/identity'],
  // The top layer, from the bottom up: folders that import several peers.
  'agent/status': [
    ...[...BUILDING_BLOCKS, 'core/twin', 'agent/detections', 'agent/linux', 'agent/collectors', 'agent/baseline'],
    ...['agent/pipeline', 'agent/posture', 'agent/config', 'agent/state'],
  ],
  'agent/methods': [...BUILDING_BLOCKS, 'agent/collectors', 'agent/pipeline', 'agent/config', 'agent/status'],
  'agent/lifeline.ts': ['core/base', 'agent/linux', 'agent/status'],
  'agent/reader-main.ts': ['core/base', 'agent/reader', 'agent/linux', 'agent/baseline'],
  'agent/hardware-main.ts': ['core/base', 'agent/commands'],
  'agent/shipped-main.ts': ['core/base'],
  'agent/composition': [
    ...[
      ...CORE,
      'agent/linux',
      'agent/collectors',
      'agent/baseline',
      'agent/pipeline',
      'agent/posture',
      'agent/config',
    ],
    ...['agent/hub', 'agent/status', 'agent/methods', 'agent/lifeline.ts', 'agent/identity', 'agent/detections'],
    'agent/state',
  ],
  'agent/agent.ts': ['core/base', 'agent/linux', 'agent/collectors', 'agent/config', 'agent/composition'],
  'agent/commands': [
    ...[...CORE, 'agent/host', 'agent/linux', 'agent/collectors', 'agent/baseline', 'agent/pipeline', 'agent/config'],
    ...['agent/hub', 'agent/identity', 'agent/detections', 'agent/posture', 'agent/status', 'agent/agent.ts'],
    ...['agent/state', 'agent/reader'],
  ],
  'agent/main.ts': ['core/base', 'core/command-line', 'agent/hub', 'agent/commands', 'agent/linux'],
  'main.ts': ['core/base', 'core/command-line', 'agent/hub', 'agent/commands', 'agent/linux', 'emulator', 'fleet'],
};

const read = (folder: string): SourceFile[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ path: join(folder, file), text: readFileSync(join(folder, file), 'utf8') }));

/** The source without comments. A `//` within a string, as in a URL, does not start a comment. */
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

/** The folder of a file: `core/base`, `agent/hub`, `agent/main.ts`, `emulator`. */
function ownerOf(path: string): string {
  const [, product = '', folder] = path.split('/');
  return folder !== undefined && ['core', 'agent'].includes(product) ? `${product}/${folder}` : product;
}
/** Files of /proc/PID for which the kernel takes the process's mmap_lock, or waits for its execve(2); see proc(5). */
const MEMORY_FILES =
  '(?:auxv|clear_refs|cmdline|environ|io|map_files|maps|mem|numa_maps|pagemap|smaps|smaps_rollup|stack|syscall)';

const inSource = ({ target }: Import) => target.startsWith('src/');
const inFolder = (folder: string) => (path: string) => path.startsWith(`src/${folder}/`);
const inFile =
  (...files: string[]) =>
  (path: string) =>
    files.includes(path);

/** Each rule returns the faults of a file. The planted sources below prove that each rule can fail. */
const RULES: Readonly<Record<string, (file: SourceFile) => string[]>> = {
  'agent, emulator and fleet import only core and themselves, and core imports none of them': (file) => {
    const [, product = ''] = file.path.split('/');
    if (product === 'main.ts') return []; // chooses one of the programs
    return imports(file)
      .filter(inSource)
      .map(({ target }) => target)
      .filter((target) => !inFolder(product)(target) && !inFolder('core')(target));
  },

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
      (path) => inFile('src/core/base/clock.ts')(path) || inFolder('emulator/page/browser')(path),
    ),

  'the agent reads whole files of unknown kind and size only with limits': (file) =>
    found(
      file,
      /\b(?:readFile(?:Sync|IfThere)?|createReadStream)\((?!\s*['"`]\/proc\/)/g,
      // Commands, files that are installed with the program, descriptors that were checked, and files of the kernel's.
      (path) =>
        ['agent/commands', 'core/command-line', 'emulator', 'fleet'].some((folder) => inFolder(folder)(path)) ||
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
    importsOf(file, /^(?:azure-(?!iothub)|mqtt$|mqtt\/)/, inFolder('agent/hub')),

  'only fleet/ names the service SDK': (file) => importsOf(file, /^(?:azure-iothub|@azure\/)/, inFolder('fleet')),

  // The provisioning service is called before a hub is assigned. It needs MQTT packets, but not MQTT.js's sessions.
  'only hub/ and identity/provisioning/ read and write packets of MQTT': (file) =>
    importsOf(
      file,
      /^mqtt-packet/,
      (path) => inFolder('agent/hub')(path) || inFolder('agent/identity/provisioning')(path),
    ),

  'only the emulator names its broker and its certificate maker': (file) =>
    importsOf(file, /^(?:aedes|@peculiar\/|reflect-metadata)/, inFolder('emulator')),

  'what runs in the browser imports only from there, and from files that need nothing of Node': (file) =>
    inFolder('emulator/page/browser')(file.path)
      ? imports(file)
          .map(({ target }) => target)
          .filter((target) => !inFolder('emulator/page/browser')(target))
          .filter((target) => !inFile('src/emulator/page/protocol.ts', 'src/core/base/text.ts')(target))
      : [],

  'signals are combined by base/waiting.ts, since AbortSignal.any leaks on Node 20': (file) =>
    found(
      file,
      /\bAbortSignal\.any\b/g,
      // Called once, or once for each scan.
      (path) =>
        inFolder('agent/commands')(path) ||
        inFile(
          'src/agent/composition/deferred-services.ts',
          'src/agent/baseline/isolated-scanner.ts',
          'src/emulator/commands/demo.ts',
        )(path),
    ),

  'only core/command-line/program.ts ends the process': (file) =>
    found(file, /\bprocess\.(?:exit|abort)\b/g, inFile('src/core/command-line/program.ts')),

  'only the demo, make-code-cache, the reader, commands/hardware/ and host/run-tool.ts start other programs': (file) =>
    importsOf(
      file,
      /^(?:node:)?child_process$/,
      inFile(
        'src/emulator/commands/demo.ts',
        'src/agent/commands/make-code-cache.ts',
        'src/agent/commands/hardware/ask.ts',
        'src/agent/reader/child.ts',
        'src/agent/host/run-tool.ts',
      ),
    ),

  'only the child process of --hardware names systeminformation, which runs shells': (file) =>
    importsOf(file, /^systeminformation/, inFile('src/agent/hardware-main.ts')),

  "only the reader's kinds read what another process's memory lock blocks": (file) =>
    found(
      file,
      new RegExp(
        // The kernel's own /proc/cmdline and systemd-boot's etc/kernel/cmdline are not files of a process.
        `(?<!/proc|\\$\\{proc\\}|etc/kernel)/${MEMORY_FILES}(?=['"\`])|['"\`](?:cmdline|environ|maps|smaps|mem)['"\`](?!\\s*:)`,
        'g',
      ),
      // A scan of the baseline runs in a reader; the two files in self/ read the agent's own mappings.
      (path) =>
        inFolder('agent/linux/processes/memory')(path) ||
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
      // Contains names of functions that it looks for in the command lines of other processes.
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

/** Files that import one another, directly or indirectly, including types. They must be read and changed together. */
const circles = (files: readonly SourceFile[]): string[][] =>
  circlesIn(new Map(files.map((file) => [file.path, imports(file).map(({ target }) => target)])));

/**
 * Folders that import one another. `folderOf` maps a file's path to its folder. Imports within one folder don't count.
 */
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
const folderOfLinux = (path: string) => path.split('/').slice(0, 4).join('/');

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
    files: { 'src/agent/hub/a.ts': "import { b } from './b.ts';", 'src/agent/hub/b.ts': "import { a } from './a.ts';" },
    circles: [['src/agent/hub/a.ts', 'src/agent/hub/b.ts']],
  },
  'types of two files': {
    files: {
      'src/agent/hub/a.ts': "import type { B } from './b.ts';",
      'src/agent/hub/b.ts': "export * from './a.ts';",
    },
    circles: [['src/agent/hub/a.ts', 'src/agent/hub/b.ts']],
  },
  'three files beside others': {
    files: {
      'src/agent/commands/main.ts': "import { a } from '../hub/a.ts'; import { c } from '../hub/c.ts';",
      'src/agent/hub/a.ts': "import { b } from './b.ts'; import { d } from './d.ts';",
      'src/agent/hub/b.ts': "const c = await import('./deep/c.ts');",
      'src/agent/hub/deep/c.ts': "import { a } from '../a.ts';",
      'src/agent/hub/d.ts': '',
    },
    circles: [['src/agent/hub/a.ts', 'src/agent/hub/b.ts', 'src/agent/hub/deep/c.ts']],
  },
  'no circle, though one file is reached by two ways': {
    files: {
      'src/agent/hub/a.ts': "import { b } from './b.ts'; import { c } from './c.ts';",
      'src/agent/hub/b.ts': "import { c } from './c.ts';",
      'src/agent/hub/c.ts': "// import { a } from './a.ts';",
    },
    circles: [],
  },
};

const PLANTED_FOLDER_CIRCLES: Readonly<
  Record<string, { files: Record<string, string>; each: string[][]; whole: string[][] }>
> = {
  'a folder and the one within it': {
    files: {
      'src/agent/linux/native/a.ts': "import { b } from './netlink/b.ts';",
      'src/agent/linux/native/netlink/b.ts': '',
      'src/agent/linux/native/netlink/c.ts': "import { d } from '../d.ts';",
      'src/agent/linux/native/d.ts': '',
    },
    each: [['src/agent/linux/native', 'src/agent/linux/native/netlink']],
    whole: [],
  },
  'two folders, by way of one that is within another': {
    files: {
      'src/agent/linux/logins/a.ts': "import type { B } from '../sockets/connections/b.ts';",
      'src/agent/linux/sockets/connections/b.ts': '',
      'src/agent/linux/sockets/c.ts': "import { d } from '../logins/d.ts';",
      'src/agent/linux/logins/d.ts': "import { a } from './a.ts';",
    },
    each: [],
    whole: [['src/agent/linux/logins', 'src/agent/linux/sockets']],
  },
  'no circle': {
    files: {
      'src/agent/linux/events.ts': "import { a } from './streams/a.ts'; import { b } from './logins/b.ts';",
      'src/agent/linux/streams/a.ts': "import { b } from '../logins/b.ts'; import { c } from './c.ts';",
      'src/agent/linux/logins/b.ts': "import { clock } from '../../../core/base/clock.ts';",
      'src/agent/linux/streams/c.ts': '',
    },
    each: [],
    whole: [],
  },
};

/** Sources that break a rule, and sources that only look as if they did. */
const PLANTED: Readonly<Record<string, { breaks: Record<string, string>; keeps: Record<string, string> }>> = {
  'agent, emulator and fleet import only core and themselves, and core imports none of them': {
    breaks: {
      'src/core/twin/a.ts': "import type { Collector } from '../../agent/collectors/index.ts';",
      'src/agent/commands/a.ts': "await import('../../emulator/hub.ts');",
      'src/emulator/commands/a.ts': "import { agent } from '../../agent/agent.ts';",
      'src/emulator/a.ts': "import { rows } from '../fleet/rows.ts';",
      'src/fleet/commands/a.ts': "export * from '../../agent/config/local.ts';",
    },
    keeps: {
      'src/main.ts': "import { commands } from './fleet/commands/index.ts';",
      'src/emulator/page/a.ts':
        "import { systemClock } from '../../core/base/clock.ts'; import { x } from '../hub.ts';",
      'src/agent/hub/a.ts': "import { x } from '../identity/kinds.ts'; import mqtt from 'mqtt';",
    },
  },
  'every folder imports only from the floors below it': {
    breaks: {
      'src/core/base/a.ts': "import { x } from '../contract/event.ts';",
      'src/core/contract/a.ts': "import type { x } from '../../agent/hub/session.ts';",
      'src/agent/linux/audit/b.ts': "import { x } from '../../collectors/index.ts';",
      'src/agent/linux/deep/er/c.ts': "const x = await import('../../../hub/session.ts');",
      'src/agent/host/a.ts': "import { x } from '../linux/sources.ts';",
      'src/core/network/a.ts': "import { x } from '../../agent/hub/session.ts';",
      'src/agent/host/b.ts': "import type { System } from '../baseline/system.ts';",
      'src/agent/collectors/a.ts': "import '../linux/sources.ts';",
      'src/agent/collectors/b.ts': "import { parseMounts } from '../host/mounts.ts';",
      'src/agent/baseline/a.ts': "import { Firewall } from '../linux/firewall/firewall.ts';",
      'src/agent/pipeline/a.ts': "import {\n  a,\n  b,\n} from '../../core/twin/twin.ts';",
      'src/agent/posture/a.ts': "import { listeningPorts } from '../collectors/listening-ports.ts';",
      'src/agent/pipeline/b.ts': "import { c } from '../status/observe.ts';",
      'src/agent/config/a.ts': "export { x } from '../pipeline/pack.ts';",
      'src/agent/hub/a.ts': "export * from '../../emulator/sas.ts';",
      'src/emulator/a.ts': "import { sign } from '../agent/hub/sas-token.ts';",
      'src/fleet/a.ts': "import { agent } from '../agent/agent.ts';",
      'src/utils/a.ts': '',
      'src/agent/status/a.ts': "import { ping } from '../methods/ping.ts';",
      'src/agent/methods/a.ts': "import { AzureHubClient } from '../hub/azure-client.ts';",
      'src/agent/lifeline.ts': "import type { Publisher } from './pipeline/publisher.ts';",
      'src/agent/agent.ts': "import { run } from './cli/run.ts';",
      'src/agent/a.ts': "import { agent } from './agent.ts';",
      'src/agent/commands/a.ts': "import { ping } from '../methods/ping.ts';",
      'src/agent/reader-main.ts': "import { agent } from './agent.ts';",
      'src/main.ts': "import { agent } from './agent/agent.ts';",
    },
    keeps: {
      'src/core/base/a.ts': "import { x } from './clock.ts';",
      'src/agent/linux/audit/a.ts': "import { x } from '../netlink/socket.ts';",
      'src/agent/linux/audit/b.ts': "import { parseStat } from '../../host/proc-folder.ts';",
      'src/agent/baseline/a.ts': "import { parseMounts } from '../host/mounts.ts';",
      'src/agent/posture/firewall/a.ts': "import { isLoopback } from '../../host/ip-address.ts';",
      'src/agent/hub/identity/a.ts': "import { x } from '../../../core/contract/hub.ts';",
      'src/agent/hub/a.ts': "import { Network } from '../../core/network/network.ts';",
      'src/agent/config/a.ts': "// import { x } from '../hub/session.ts';",
      'src/agent/commands/a.ts': "import { x } from '../hub/session.ts';",
      'src/agent/agent.ts': "import { createHub } from './composition/hub.ts';",
      'src/agent/composition/a.ts': "import { methods } from '../methods/index.ts';",
      'src/agent/methods/a.ts': "import type { LocalStatus } from '../status/schema.ts';",
    },
  },
  'time is read and waited for only in base/clock.ts': {
    breaks: {
      'src/core/base/waiting.ts': 'setTimeout(ring, 1);',
      'src/agent/hub/a.ts': 'globalThis.setInterval(ring, 1);',
      'src/agent/hub/b.ts': 'const now = Date.now();',
      'src/agent/hub/c.ts': 'const now = performance.now();',
      'src/agent/hub/d.ts': 'await fetch(x, { signal: AbortSignal.timeout(5) });',
      'src/agent/hub/e.ts': "import { setTimeout as sleep } from 'node:timers/promises';",
      'src/agent/hub/f.ts': 'const now = new Date();',
      'src/agent/hub/g.ts': 'process.hrtime.bigint();',
      'src/emulator/page/feed.ts': 'setInterval(send, 1_000);',
    },
    keeps: {
      'src/core/base/clock.ts': 'setTimeout(ring, Date.now());',
      'src/agent/hub/a.ts': '/* setTimeout is for the clock */ const then = new Date(5);',
      'src/emulator/page/browser/a.ts': 'setInterval(draw, 1_000);',
      'src/agent/hub/b.ts': 'mqttBase.setTimeout(60);', // a limit of the SDK, not a timer
    },
  },
  'only hub/ names the Azure SDK and MQTT': {
    breaks: {
      'src/agent/agent.ts': "import device from 'azure-iot-device';",
      'src/agent/commands/a.ts': "const { Mqtt } = await import('azure-iot-device-mqtt');",
      'src/emulator/a.ts': "import mqtt from 'mqtt';",
      'src/agent/identity/provisioning/a.ts': "import mqtt from 'mqtt';",
      'src/agent/pipeline/a.ts': "const Message = require('azure-iot-common');",
    },
    keeps: {
      'src/agent/hub/identity/a.ts': "import device from 'azure-iot-device';",
      'src/emulator/a.ts':
        "import { MqttServer } from './mqtt-server.ts'; // https://learn.microsoft.com/azure-iot 'azure-iot'",
    },
  },
  'only fleet/ names the service SDK': {
    breaks: {
      'src/agent/commands/a.ts': "import azureIotHub from 'azure-iothub';",
      'src/agent/hub/a.ts': "import { DeviceMethod } from 'azure-iothub/dist/device_method.js';",
      'src/agent/identity/a.ts': "await import('@azure/identity');",
    },
    keeps: { 'src/fleet/a.ts': "import azureIotHub from 'azure-iothub'; await import('@azure/identity');" },
  },
  'the agent reads whole files of unknown kind and size only with limits': {
    breaks: {
      'src/agent/pipeline/a.ts': 'const text = readFileIfThere(this.#file);',
      'src/agent/hub/a.ts': "JSON.parse(readFileSync(join(folder, 'x.json'), 'utf8'));",
      'src/agent/a.ts': 'await readFile(path);',
      'src/agent/linux/a.ts': 'createReadStream(path)',
    },
    keeps: {
      'src/agent/linux/a.ts': "readFileSync('/proc/self/status', 'latin1'); readFileSync(`/proc/1/stat`);",
      'src/agent/commands/a.ts': 'readFileSync(path)',
      'src/agent/state/read-state.ts': 'readOwnFile(path, 1_024)',
    },
  },
  'only hub/ and identity/provisioning/ read and write packets of MQTT': {
    breaks: {
      'src/main.ts': "import 'mqtt-packet';",
      'src/agent/identity/a.ts': "const packets = await import('mqtt-packet');",
      'src/core/network/a.ts': "import mqttPacket from 'mqtt-packet';",
    },
    keeps: {
      'src/agent/hub/a.ts': "import mqttPacket from 'mqtt-packet';",
      'src/agent/identity/provisioning/a.ts': "import mqttPacket, { type Packet } from 'mqtt-packet';",
    },
  },
  'only the emulator names its broker and its certificate maker': {
    breaks: {
      'src/agent/hub/a.ts': "import { Aedes } from 'aedes';",
      'src/agent/commands/a.ts': "await import('@peculiar/x509');",
    },
    keeps: { 'src/emulator/a.ts': "import { Aedes } from 'aedes';" },
  },
  'what runs in the browser imports only from there, and from files that need nothing of Node': {
    breaks: {
      'src/emulator/page/browser/a.ts': "import { rowOf } from '../rows.ts';",
      'src/emulator/page/browser/b.ts': "import { join } from 'node:path';",
    },
    keeps: {
      'src/emulator/page/browser/a.ts': "import { b } from './b.ts'; import type { Hello } from '../protocol.ts';",
      'src/emulator/page/b.ts': "import { join } from 'node:path';",
    },
  },
  'signals are combined by base/waiting.ts, since AbortSignal.any leaks on Node 20': {
    breaks: { 'src/agent/hub/a.ts': 'const end = AbortSignal.any([one, other]);' },
    keeps: {
      'src/agent/hub/a.ts': '// not AbortSignal.any',
      'src/agent/commands/a.ts': 'AbortSignal.any([one, other]);',
    },
  },
  'only core/command-line/program.ts ends the process': {
    breaks: { 'src/agent/commands/run.ts': 'process.exit(1);', 'src/agent/agent.ts': 'process.abort();' },
    keeps: {
      'src/core/command-line/program.ts': 'process.exit(1);',
      'src/agent/commands/run.ts': 'process.exitCode = 1;',
    },
  },
  'only the demo, make-code-cache, the reader, commands/hardware/ and host/run-tool.ts start other programs': {
    breaks: {
      'src/agent/linux/a.ts': "import { execFile } from 'node:child_process';",
      'src/agent/commands/run.ts': "import { spawn } from 'child_process';",
    },
    keeps: {
      'src/emulator/commands/demo.ts': "import { spawn } from 'node:child_process';",
      'src/agent/host/run-tool.ts': "import { execFile } from 'node:child_process';",
    },
  },
  'only the child process of --hardware names systeminformation, which runs shells': {
    breaks: {
      'src/agent/linux/a.ts': "const { battery } = await import('systeminformation');",
      'src/agent/commands/hardware/ask.ts': "import si from 'systeminformation';",
    },
    keeps: { 'src/agent/hardware-main.ts': "await import('systeminformation');" },
  },
  "only the reader's kinds read what another process's memory lock blocks": {
    breaks: {
      'src/agent/linux/a.ts': `readFileSync(\`/proc/\${pid}/cmdline\`);`,
      'src/agent/linux/b.ts': "read(join(proc, String(pid), 'environ'));",
      'src/agent/linux/c.ts': `this.#readIfThere(\`\${pid}/cmdline\`);`,
      'src/agent/commands/d.ts': "open('/proc/1/environ')",
      'src/agent/baseline/e.ts': "files.text('/proc/1/maps')",
      'src/agent/collectors/f.ts': 'readFileSync("/proc/" + pid + "/smaps_rollup")',
    },
    keeps: {
      'src/agent/linux/processes/memory/a.ts': `readFileSync(\`/proc/\${pid}/cmdline\`);`,
      'src/agent/commands/check/a.ts': `exists('etc/kernel/cmdline')`,
      'src/agent/linux/machine/system-facts.ts': `read(\`\${proc}/cmdline\`); read('/proc/cmdline');`,
      'src/agent/linux/a.ts': `read(\`\${pid}/stat\`); // not \`\${pid}/cmdline\``,
    },
  },
  'nothing runs a shell': {
    breaks: {
      'src/emulator/commands/demo.ts': "import { type ChildProcess, exec } from 'node:child_process';",
      'src/agent/commands/a.ts': "execSync('ls');",
      'src/agent/commands/b.ts': "spawn('ls', [], { shell: true });",
    },
    keeps: {
      'src/emulator/commands/demo.ts': "import { execFile, spawn } from 'node:child_process'; /x/.exec('x');",
      'src/agent/detections/views/one-liners.ts': "const EXECUTING = ['execSync'];",
    },
  },
  'nothing is exported as default': {
    breaks: { 'src/agent/hub/a.ts': 'export default class {}', 'src/agent/hub/b.ts': 'export { x as default };' },
    keeps: { 'src/agent/hub/a.ts': "import x from 'x'; // export default" },
  },
};

describe('architecture', () => {
  const sources = read('src');

  it('every folder of MAY_IMPORT has sources', () => {
    for (const folder of Object.keys(MAY_IMPORT))
      assert.ok(
        sources.some(({ path }) => ownerOf(path) === folder),
        folder,
      );
  });

  it('MAY_IMPORT has a row for every folder and file of src', () => {
    const places = new Set(Object.keys(MAY_IMPORT));
    assert.deepEqual(
      sources.map(({ path }) => ownerOf(path)).filter((owner) => !places.has(owner)),
      [],
    );
  });

  describe('no files import one another in a circle', () => {
    it('no files of src import one another in a circle', () => assert.deepEqual(circles(sources), []));

    for (const [what, { files, circles: expected }] of Object.entries(PLANTED_CIRCLES))
      it(`the search for circles of files finds ${what}`, () =>
        assert.deepEqual(circles(Object.entries(files).map(([path, text]) => ({ path, text }))), expected));
  });

  describe('no folders of linux/ import one another in a circle', () => {
    const linux = sources.filter(({ path }) => inFolder('agent/linux')(path));

    it('no single folders of linux/ import one another in a circle', () =>
      assert.deepEqual(folderCircles(linux, dirname), []));
    it('no folders of linux/ with their subfolders import one another in a circle', () =>
      assert.deepEqual(folderCircles(linux, folderOfLinux), []));

    for (const [what, { files, each, whole }] of Object.entries(PLANTED_FOLDER_CIRCLES)) {
      const planted = Object.entries(files).map(([path, text]) => ({ path, text }));
      it(`the search for circles of folders finds ${what}`, () => {
        assert.deepEqual(folderCircles(planted, dirname), each);
        assert.deepEqual(folderCircles(planted, folderOfLinux), whole);
      });
    }
  });

  for (const [rule, check] of Object.entries(RULES)) {
    describe(rule, () => {
      it(`no source breaks the rule: ${rule}`, () => {
        const broken = sources.flatMap((file) => check(file).map((what) => `${file.path}: ${what}`));
        assert.deepEqual(broken, []);
      });

      for (const [path, text] of Object.entries(PLANTED[rule]?.breaks ?? {})) {
        it(`${path} would break the rule with ${text.replaceAll('\n', ' ')}`, () =>
          assert.notDeepEqual(check({ path, text }), []));
      }

      for (const [path, text] of Object.entries(PLANTED[rule]?.keeps ?? {})) {
        it(`${path} would not break the rule with ${text.replaceAll('\n', ' ')}`, () =>
          assert.deepEqual(check({ path, text }), []));
      }

      it(`a planted source breaks the rule: ${rule}`, () =>
        assert.ok(Object.keys(PLANTED[rule]?.breaks ?? {}).length > 0));
    });
  }
});
