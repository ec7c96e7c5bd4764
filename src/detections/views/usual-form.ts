/*
 * Commands as they are usually written: options before operands, a value behind its option, a URL with its scheme. getopt(3)
 * takes them in many other forms: `cp /tmp/shadow /etc/shadow -f`, `wget -O/tmp/x URL`, `chmod -R -- 777 /etc`. To add a
 * program, add a word, and its options to option-values.ts.
 */
import { valuedOf } from './option-values.ts';
import { listOf, optionOf } from './options.ts';
import { nameOf } from './paths.ts';

/** Programs that rules look for. */
const ANY_ORDER = listOf(
  'sed grep egrep fgrep chmod chown chgrp cp mv ln install rm shred touch truncate tee base64 rsync mount umount crontab passwd ' +
    'auditctl gpasswd useradd adduser usermod wget wget2 curl uclient-fetch nc ncat netcat',
);
/** The same, but an operand belongs to the option before it. */
const IN_ORDER = listOf('iptables ip6tables');

/** Programs whose operands are URLs: of one without a scheme, wget(1) and curl(1) take it for HTTP. */
const OF_URLS = listOf('wget wget2 curl uclient-fetch');
const withScheme = (word: string): string =>
  /^[\w[][^/]*[./:]/.test(word) && !word.includes('://') ? `http://${word}` : word;

interface Parts {
  /** Options, each with its value behind it. Everything, if the order counts. */
  readonly options: readonly string[];
  /** The other words; with `--` before them if one of them could be an option. */
  readonly operands: readonly string[];
}

/** The words of a command in its usual form; the same words if they are, or if the program is not known. */
export function inUsualForm(words: readonly string[]): readonly string[] {
  const parts = partsOf(words);
  if (parts === undefined) return words;
  const usual = [...words.slice(0, 1), ...parts.options, ...parts.operands];
  return usual.length === words.length && usual.every((word, at) => word === words[at]) ? words : usual;
}

/** What stands behind the name of a program, if it is one of those above. */
export function partsOf(words: readonly string[]): Parts | undefined {
  const name = nameOf(words[0] ?? '');
  const keepsOrder = IN_ORDER.has(name);
  if (!keepsOrder && !ANY_ORDER.has(name)) return undefined;
  const valued = valuedOf(name);
  const options: string[] = [];
  const operands: string[] = [];
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
    const { value, takesNext } = optionOf(word, valued);
    // `wget -qO-` is as usual as it can be.
    if (value === undefined || value === '-' || word.startsWith('--')) options.push(word);
    else options.push(word.slice(0, -value.length), value);
    if (takesNext && at + 1 < words.length) options.push(words[++at] ?? '');
  }
  return { options, operands: OF_URLS.has(name) ? operands.map(withScheme) : operands };
}
