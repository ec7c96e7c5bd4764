import { type Duration, seconds } from '../../../core/base/duration.ts';
import { copied } from '../../../core/base/values.ts';
import type { Payload } from '../../../core/contract/event.ts';
import type { Subject } from '../subject.ts';

/** A start that can have changed an account. */
interface Start {
  readonly at: number;
  readonly kind: 'tool' | 'writer';
  readonly executable: string;
  readonly commandLine: string;
  readonly userId: string;
  readonly loginUserId: string | undefined;
}

/** A change is found within 4 s, after the files have settled; later under load. */
const WINDOW: Duration = seconds(20);
/** Limits of starts per login user, and of users: anyone can start set-uid tools, and must not displace root's starts. */
const MAX_STARTS = 16;
const MAX_USERS = 32;
const LONGEST_LINE = 512;

const TOOLS =
  /^(user(add|mod|del)|group(add|mod|del|mems)|(add|del)(user|group)|gpasswd|passwd|chg?passwd|chage|vipw|vigr|newusers|chsh|chfn|(pw|grp)(un)?conv|systemd-sysusers|busybox)$/;
const FILES = /\/etc\/(passwd|shadow|group|gshadow)\b/;

/**
 * Infers which start changed an account, from its time and its effective user: only root can write the account files. The result
 * is a conclusion, not an observation, and is marked as such.
 */
export class AccountActors {
  /** Keyed by login user; the user with the latest start is last. */
  readonly #starts = new Map<string, Start[]>();

  /** Call this for every start. */
  started(payload: Payload, at: number): void {
    const { Executable, CommandLine, UserId, ExtraDetails } = payload;
    if (UserId !== '0') return;
    const executable = String(Executable);
    const name = executable.slice(executable.lastIndexOf('/') + 1);
    const isTool = TOOLS.test(name);
    const line = String(CommandLine ?? '').slice(0, LONGEST_LINE);
    if (!isTool && !FILES.test(line)) return;
    const loginUserId = (ExtraDetails as Payload | undefined)?.LoginUserId;
    const user = String(loginUserId);
    const starts = this.#starts.get(user) ?? [];
    this.#starts.delete(user);
    this.#starts.set(user, starts);
    for (const oldest of this.#starts.keys()) {
      if (this.#starts.size <= MAX_USERS) break;
      this.#starts.delete(oldest);
    }
    starts.push({
      at,
      kind: isTool ? 'tool' : 'writer',
      executable: copied(executable),
      commandLine: copied(line),
      userId: String(UserId),
      loginUserId: typeof loginUserId === 'string' ? loginUserId : undefined,
    });
    if (starts.length > MAX_STARTS) starts.shift();
  }

  /** Adds the start that probably caused each change of an account; other changes are returned unchanged. */
  named(changes: readonly Subject[]): readonly Subject[] {
    return changes.map((subject) => {
      const actor = subject.source === 'local_user_change' ? this.#actorOf(subject) : undefined;
      if (actor === undefined) return subject;
      const { event } = subject;
      const found = {
        ActorInferred: 'true',
        ActorExecutable: actor.executable,
        ActorCommandLine: actor.commandLine,
        ActorUserId: actor.userId,
        ...(actor.loginUserId === undefined ? {} : { ActorLoginUserId: actor.loginUserId }),
      };
      return { ...subject, event: { ...event, payload: { ...event.payload, ...found } } };
    });
  }

  /** Tools that name the account or its group come first, then other tools, then writers of the files; latest first. */
  #actorOf({ time, fields: { UserName = '', Group = '' } }: Subject): Start | undefined {
    const recent = [...this.#starts.values()].flat().filter(({ at }) => at <= time + 1_000 && time - at <= WINDOW);
    const names = ({ commandLine }: Start) => {
      const words = commandLine.split(/[\s,:=]+/);
      return words.includes(UserName) || (Group !== '' && words.includes(Group));
    };
    const rank = (start: Start) => (start.kind === 'writer' ? 2 : names(start) ? 0 : 1);
    return recent.sort((a, b) => rank(a) - rank(b) || b.at - a.at)[0];
  }
}
