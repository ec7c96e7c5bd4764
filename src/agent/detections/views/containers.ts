/* Commands in containers: `docker exec web sh -c id`, `docker run alpine sh -c id`. */
import { listOf } from './options.ts';
import { nameOf } from './paths.ts';

const ENGINES = listOf('docker podman nerdctl ctr docker-compose podman-remote');
const STARTING = listOf('exec run create');
/** Options without a value; every other long option takes one. */
const FLAGS = listOf(
  '--detach --interactive --tty --rm --privileged --init --read-only --publish-all --quiet --no-healthcheck ' +
    '--oom-kill-disable --sig-proxy --disable-content-trust --debug --tls --replace --tlsverify --no-TTY --latest ' +
    '--remote --no-hosts --rootfs --help --no-deps --service-ports',
);
/** Options of one letter without a value. */
const LETTERS = 'ditPqDT';

/** The command that a container runs; undefined if there is none. `from` is the index of the engine's word. */
export function containerCommand(words: readonly string[], from: number): readonly string[] | undefined {
  if (!ENGINES.has(nameOf(words[from] ?? ''))) return undefined;
  let operands = 0;
  let entry: string | undefined;
  for (let at = from + 1; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '') continue;
    if (operands === 2) return entry === undefined ? words.slice(at) : [entry, ...words.slice(at)];
    if (word.startsWith('-')) {
      if (word === '--entrypoint') entry = words[at + 1];
      else if (word.startsWith('--entrypoint=')) entry = word.slice('--entrypoint='.length);
      if (takesNext(word)) at++;
    } else if (operands === 0) {
      // Before the subcommand: `docker container exec`, `docker compose exec`.
      if (STARTING.has(word)) operands = 1;
    } else operands = 2;
  }
  return entry === undefined ? undefined : [entry];
}

function takesNext(option: string): boolean {
  if (option.startsWith('--')) return !option.includes('=') && !FLAGS.has(option);
  for (let i = 1; i < option.length; i++) if (!LETTERS.includes(option[i] ?? '')) return i === option.length - 1;
  return false;
}
