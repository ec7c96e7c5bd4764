import { parseFields } from './record.ts';

/* Records that the kernel writes regardless of rules. */

/** Types of records, from linux/audit.h. */
const CONFIG_CHANGE = 1305;
const NETFILTER_CFG = 1325;
const BPF = 1334;
const EVENT_LISTENER = 1335;
const ANOM_PROMISCUOUS = 1700;
const ANOM_ABEND = 1701;

/** The subject. The first four change what audit reports, and to whom. */
export type NoticeKind = 'settings' | 'slot' | 'rules' | 'listener' | 'firewall' | 'promiscuous' | 'crash' | 'bpf';

/** The process, as far as the record or the SYSCALL record of the same event names it. */
export interface Doer {
  readonly pid: number;
  readonly parentPid?: number;
  readonly executable?: string;
  readonly userId?: string;
  /** The login user, which su and sudo do not change. */
  readonly loginId?: string;
}

export interface Notice {
  readonly kind: NoticeKind;
  /** In the kernel's own words: `audit_enabled=0, was 1`. */
  readonly what: string;
  readonly by?: Doer;
}

export const isNotice = (type: number): boolean =>
  type === CONFIG_CHANGE ||
  type === NETFILTER_CFG ||
  type === BPF ||
  type === EVENT_LISTENER ||
  type === ANOM_PROMISCUOUS ||
  type === ANOM_ABEND;

/** The kernel's value for "no login user". */
const NO_LOGIN = '4294967295';

/**
 * Reads one of those records.
 *
 *     op=set audit_enabled=0 old=1 auid=1000 ses=3 res=1
 *     auid=1000 ses=3 op=remove_rule key="vakt" list=4 res=1
 *     pid=7 uid=0 auid=1000 tty=(none) ses=3 comm="node" exe="/usr/bin/node" nl-mcgrp=1 op=connect res=1
 *     table=foo:2 family=1 entries=1 op=nft_register_table pid=7 comm="nft"
 *     dev=lo prom=256 old_prom=0 auid=1000 uid=0 gid=0 ses=3
 *     auid=1000 uid=0 gid=0 ses=3 pid=7 comm="sh" exe="/usr/bin/dash" sig=11 res=1
 *     prog-id=97 op=LOAD
 *
 * Source: audit_log_config_change() and its siblings in kernel/audit.c, auditfilter.c, auditsc.c, and nf_tables_api.c.
 *
 * @param text the record without its header, as latin1
 * @returns `undefined` when it says that nothing has changed, or isn't understood
 */
export function parseNotice(type: number, text: string): Notice | undefined {
  // The kernel leaves out a space there: `ses=4294967295op=remove_rule`.
  const fields = parseFields(text.replace(/(ses=\d+)op=/, '$1 op='));
  const by = doerIn(fields);
  const notice = (kind: NoticeKind, what: string): Notice => ({ kind, what, ...(by === undefined ? {} : { by }) });
  switch (type) {
    case CONFIG_CHANGE:
      return configChange(text, fields, notice);
    case EVENT_LISTENER:
      // A rejected request is recorded, too: any user can try.
      return fields.op === 'connect' && fields.res !== '0'
        ? notice('listener', 'it reads audit records, too')
        : undefined;
    case NETFILTER_CFG:
      return notice('firewall', named(fields, 'op', 'table', 'family'));
    case ANOM_PROMISCUOUS:
      if (fields.prom === fields.old_prom) return undefined;
      return notice(
        'promiscuous',
        `${fields.dev ?? '?'} ${fields.prom === '0' ? 'no longer reads' : 'reads'} all packets`,
      );
    case ANOM_ABEND:
      return notice('crash', `ended by signal ${fields.sig ?? '?'}`);
    case BPF:
      return fields.op === 'LOAD' ? notice('bpf', `loaded program ${fields['prog-id'] ?? '?'}`) : undefined;
    default:
      return undefined;
  }
}

type Fields = ReturnType<typeof parseFields>;

function configChange(
  text: string,
  fields: Fields,
  notice: (kind: NoticeKind, what: string) => Notice,
): Notice | undefined {
  if (fields.op === 'set') {
    const [, name, value] = /\b(audit_[a-z_]{1,40})=(\d{1,10})\b/.exec(text) ?? [];
    if (name === undefined || value === fields.old) return undefined;
    // A daemon that is refused the slot; the kernel has asked the agent.
    if (name === 'audit_pid' && fields.res === '0') return undefined;
    return notice(name === 'audit_pid' ? 'slot' : 'settings', `${name}=${value}, was ${fields.old ?? '?'}`);
  }
  if (fields.op === undefined || !fields.op.endsWith('_rule')) return undefined;
  return fields.res === '0' ? undefined : notice('rules', named(fields, 'op', 'key', 'list', 'path', 'dir'));
}

/** `op=add_rule key=vakt list=4`. */
const named = (fields: Fields, ...names: readonly string[]): string =>
  names.flatMap((name) => (fields[name] === undefined ? [] : [`${name}=${fields[name]?.slice(0, 200)}`])).join(' ');

/** The process that a record is about; `undefined` when it has no pid. @param fields of it, or of a SYSCALL record */
export function doerIn({ pid, ppid, exe, uid, euid, auid }: Fields): Doer | undefined {
  if (pid === undefined || !/^\d{1,10}$/.test(pid)) return undefined;
  const userId = uid ?? euid;
  return {
    pid: Number(pid),
    ...(ppid === undefined ? {} : { parentPid: Number(ppid) }),
    ...(exe === undefined ? {} : { executable: exe }),
    ...(userId === undefined ? {} : { userId }),
    ...(auid === undefined || auid === NO_LOGIN ? {} : { loginId: auid }),
  };
}
