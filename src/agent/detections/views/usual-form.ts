/*
 * Commands in canonical form: options before operands, each with its value after it, URLs with their scheme. getopt(3) accepts
 * many other forms: `cp /tmp/shadow /etc/shadow -f`, `wget -O/tmp/x URL`, `chmod -R -- 777 /etc`. To add a
 * program, add a word, and its options to option-values.ts; an option that replaces an operand, also to long-options.ts.
 */
import { valuedOf } from './option-values.ts';
import { listOf, optionOf } from './options.ts';
import { nameOf } from './paths.ts';

/** Programs that rules refer to. */
const ANY_ORDER = listOf(
  'sed grep egrep fgrep cmp chmod chown chgrp cp mv ln install rm shred touch truncate tee base64 rsync mount umount crontab ' +
    'passwd auditctl gpasswd useradd adduser usermod wget wget2 curl uclient-fetch nc ncat netcat ' +
    'axel fetch http https lynx links elinks w3m',
);
/** The same, but an operand belongs to the preceding option. */
const IN_ORDER = listOf('iptables ip6tables');

/** Options that replace the first or the last operand: `mount --target /var/log tmpfs`, `curl --url URL`. */
const FIRST_OPERAND: Readonly<Record<string, string>> = { mount: '--source' };
const LAST_OPERAND: Readonly<Record<string, string>> = { mount: '--target', curl: '--url' };

/** Programs whose operands are URLs, with HTTP as the default scheme. */
const OF_URLS = listOf('wget wget2 curl uclient-fetch axel fetch http https lynx links elinks w3m');
/** A name with a dot, an IP address (even as a single number), or this machine. */
const HOST = /^(?:[\w-]+(?:\.[\w-]+)+\.?|\d{8,10}|0x[\da-f]+|localhost|\[[^\]]+\])(?::\d+)?$/i;
/** A local host name, which counts only with a port and a path. */
const HOST_AND_PORT = /^[\w-]+:\d+$/;
const IPV4 = /^\d+(?:\.\d+){3}(?::\d+)?$/;
const SCHEME = /^(https?|ftp):\/+/i;

/**
 * URLs with their schemes: `http://192.0.2.1/x` for `192.0.2.1/x`. If quotes are lost, a word may also be part of a header, such
 * as `Host: x.example`: after a complete URL, only an address with a path counts as another one.
 */
function withSchemes(operands: readonly string[], isExact: boolean): readonly string[] {
  const isWhole = !isExact && operands.some((word) => SCHEME.test(word));
  return operands.map((word) => {
    if (word.includes(':/')) return word.replace(SCHEME, (_, scheme: string) => `${scheme.toLowerCase()}://`);
    const end = word.search(/[/?#]/);
    const host = (end === -1 ? word : word.slice(0, end)).replace(/^.*@/, '');
    const isAddress = isWhole
      ? end !== -1 && IPV4.test(host)
      : HOST.test(host) || (end !== -1 && HOST_AND_PORT.test(host));
    return isAddress ? `http://${word}` : word;
  });
}

interface Parts {
  /** Options, each followed by its value. All words if the order matters. */
  readonly options: readonly string[];
  /** The other words; after `--` if one of them could be an option. */
  readonly operands: readonly string[];
}

/**
 * The words of a command in canonical form; the same array if nothing changes, or if the program is unknown.
 *
 * @param isExact whether each word is a separate argument, not a part of one between spaces
 */
export function inUsualForm(words: readonly string[], isExact = false): readonly string[] {
  const parts = partsOf(words, isExact);
  if (parts === undefined) return words;
  const usual = [...words.slice(0, 1), ...parts.options, ...parts.operands];
  return usual.length === words.length && usual.every((word, at) => word === words[at]) ? words : usual;
}

/** The words after the name of a program, if it is listed above. */
export function partsOf(words: readonly string[], isExact = false): Parts | undefined {
  const name = nameOf(words[0] ?? '');
  const keepsOrder = IN_ORDER.has(name);
  if (!keepsOrder && !ANY_ORDER.has(name)) return undefined;
  const valued = valuedOf(name);
  const options: string[] = [];
  const operands: string[] = [];
  const first: string[] = [];
  const last: string[] = [];
  for (let at = 1; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '--') {
      const rest = words.slice(at + 1);
      const isNeeded = rest.length === 0 || rest.some((each) => each.startsWith('-'));
      operands.push(...(isNeeded ? words.slice(at) : rest));
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      (keepsOrder ? options : operands).push(word);
      continue;
    }
    const { name: option, value, takesNext } = optionOf(word, valued);
    const placed = FIRST_OPERAND[name] === option ? first : LAST_OPERAND[name] === option ? last : undefined;
    if (placed !== undefined && (value !== undefined || at + 1 < words.length)) {
      placed.push(value ?? words[++at] ?? '');
      continue;
    }
    // `wget -qO-` is already in canonical form.
    if (value === undefined || value === '-' || word.startsWith('--')) options.push(word);
    else options.push(word.slice(0, -value.length), value);
    if (takesNext && at + 1 < words.length) options.push(words[++at] ?? '');
  }
  const all = [...first, ...operands, ...last];
  return { options, operands: OF_URLS.has(name) ? withSchemes(all, isExact) : all };
}
