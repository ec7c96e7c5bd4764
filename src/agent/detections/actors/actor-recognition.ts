import type { Ancestry, FileFacts, ProcessThen, StartMoment } from '../../../core/contract/ancestry.ts';
import type { Payload } from '../../../core/contract/event.ts';
import { type ActorKind, TRUSTED_ACTORS, type TrustedActor } from './trusted-actors.ts';

/** The system's interpreters, with their options that neither run another script nor read another file. */
const INTERPRETERS: readonly { readonly executable: RegExp; readonly options: RegExp }[] = [
  { executable: /^\/(usr\/)?bin\/(ba|da|a|k|mk)?sh$/, options: /^-[aefhuvx]+$/ },
  { executable: /^\/(usr\/)?bin\/perl(\d[\d.]*)?$/, options: /^-[wTt]+$/ },
  { executable: /^\/(usr\/)?bin\/python(\d[\d.]*)?$/, options: /^-[sSEIBu]+$/ },
  { executable: /^\/(usr\/)?bin\/ruby(\d[\d.]*)?$/, options: /^-[wW]$/ },
];
/** A multi-call binary: argv[0] selects its function, so only a shell's name leads to the script. */
const BUSYBOX = /^\/(usr\/)?bin\/busybox(\.\w+)?$/;

/**
 * The file whose code a process runs: its program, or the script passed to an interpreter of the system. Uses the exact
 * arguments: an argument with spaces is never split.
 *
 * @returns `undefined` for an interpreter without a script, such as `sh -c`, or whose arguments are unknown
 */
export function runFile({ executable, argv, pid }: ProcessThen): string | undefined {
  const isBusyBox = BUSYBOX.test(executable);
  if (isBusyBox && pid === 1) return executable;
  const interpreter = isBusyBox ? INTERPRETERS[0] : INTERPRETERS.find((each) => each.executable.test(executable));
  if (interpreter === undefined) return executable;
  if (isBusyBox && !/^(\/(usr\/)?bin\/)?a?sh$/.test(argv?.[0] ?? '')) return undefined;
  const script = argv?.slice(1).find((argument) => !interpreter.options.test(argument));
  return script?.startsWith('/') === true && !/\/\.{0,2}(\/|$)/.test(script) ? script : undefined;
}

/** Enough for package scripts: a helper, the script, its frontend, the package manager. */
const MAX_ANCESTORS = 6;

/** The ancestors of a process, its parent first, each as it was when it started the next process. */
export function ancestorsOf(
  parent: ProcessThen | undefined,
  startedAt: StartMoment,
  ancestry: Ancestry,
): readonly ProcessThen[] {
  const ancestors: ProcessThen[] = [];
  let [process, moment] = [parent, startedAt];
  while (process !== undefined && ancestors.length < MAX_ANCESTORS) {
    ancestors.push(process);
    if (process.parentPid === 0) break;
    moment = process.since ?? moment;
    process = ancestry.processAt(process.parentPid, moment);
  }
  return ancestors;
}

/** Actors whose files were checked when they started, since they may have exited when a hit of a child is examined. */
const MAX_CHECKED = 256;
/** The system's program directories. */
const PLACE = /^(?:\/usr(?:\/local)?)?\/s?bin\/([^/]+)$|^\/usr\/lib(?:exec)?\/(?:[^/]+\/)?([^/]+)$/;

const BY_PROGRAM = new Map(
  TRUSTED_ACTORS.flatMap((actor) => (actor.programs ?? []).map((program) => [program, actor] as const)),
);
const BY_PATH = TRUSTED_ACTORS.filter(({ paths }) => paths !== undefined);

/** The actor that owns this path. */
export function actorAt(path: string): TrustedActor | undefined {
  const [, inBin, inLib] = PLACE.exec(path) ?? [];
  return BY_PROGRAM.get(inBin ?? inLib ?? '') ?? BY_PATH.find(({ paths }) => paths?.test(path) === true);
}

interface Checked {
  readonly since: StartMoment;
  readonly isRight: boolean;
}

/**
 * Recognises trusted actors among the ancestors of a process by facts that users cannot forge: the user ids, the executed file,
 * the owner of that file and of the script, the exact arguments, and the parent of a script. Process names and argv[0] are
 * ignored.
 */
export class ActorRecognition {
  readonly #files: FileFacts;
  /** Keyed by pid, oldest first. */
  readonly #checked = new Map<number, Checked>();

  constructor(files: FileFacts) {
    this.#files = files;
  }

  /** Call this for each start by root, so that an actor is still known after its exit. */
  started(process: ProcessThen): void {
    const { pid, since, userId } = process;
    if (userId !== 0 || since === undefined || actorOf(process) === undefined) return;
    this.#checked.delete(pid);
    this.#checked.set(pid, { since, isRight: this.#isRight(process) === true });
    const [oldest] = this.#checked.keys();
    if (this.#checked.size > MAX_CHECKED && oldest !== undefined) this.#checked.delete(oldest);
  }

  /**
   * The trusted actor that started a process. Only root's processes on the host have one.
   *
   * @param payload of the start
   * @param ancestors of the process, its parent first
   * @param kinds the kinds that count
   */
  causeOf(
    { UserId, ExtraDetails }: Payload,
    ancestors: readonly ProcessThen[],
    kinds: readonly ActorKind[] = [],
  ): string | undefined {
    if (kinds.length === 0 || UserId !== '0') return undefined;
    const { ContainerId, RealUserId, LoginUserId, Terminal } = (ExtraDetails ?? {}) as Payload;
    if (ContainerId !== undefined || RealUserId !== undefined) return undefined;
    // Orphans become children of the first process, which did not start them. Its own services have no login and no terminal.
    const isOrphan = ancestors[0]?.pid === 1 && (LoginUserId !== undefined || Terminal !== undefined);
    if (isOrphan) return undefined;
    const actor = this.#recognise(ancestors, 0);
    return actor !== undefined && kinds.includes(actor.kind) ? actor.name : undefined;
  }

  #recognise(ancestors: readonly ProcessThen[], at: number): { name: string; kind: ActorKind } | undefined {
    const process = ancestors[at];
    if (process?.userId !== 0) return undefined;
    const actor = actorOf(process);
    if (actor === undefined || (actor.isFirstProcess === true && process.pid !== 1)) return undefined;
    let { name } = actor;
    if (actor.under !== undefined) {
      const above = this.#recognise(ancestors, at + 1);
      if (above === undefined || !actor.under.includes(above.kind)) return undefined;
      name = above.name;
    }
    return this.#isChecked(process) ? { name, kind: actor.kind } : undefined;
  }

  #isChecked(process: ProcessThen): boolean {
    const { pid, since } = process;
    const known = this.#checked.get(pid);
    const isSame = known !== undefined && known.since.time === since?.time && known.since.serial === since.serial;
    return isSame ? known.isRight : this.#isRight(process) === true;
  }

  /** @returns `undefined` if the process has exited, because it is then unknown whether it ran the host's file */
  #isRight(process: ProcessThen): boolean | undefined {
    const { pid, executable } = process;
    const file = runFile(process);
    if (file === undefined) return false;
    const isScript = file !== executable;
    if (!this.#isRootOwned(executable) || (isScript && !this.#isRootOwned(file))) return false;
    return this.#files.runsHostFile(pid, executable, isScript);
  }

  /** A path given to a process may contain symbolic links, on systems whose /bin is a link to /usr/bin. */
  #isRootOwned(path: string): boolean {
    return this.#files.isRootOwned(path) || (/^\/(s?bin|lib)\//.test(path) && this.#files.isRootOwned(`/usr${path}`));
  }
}

function actorOf(process: ProcessThen): TrustedActor | undefined {
  const file = runFile(process);
  return file === undefined ? undefined : actorAt(file);
}
