import { Refused } from './rule.ts';

/*
 * Named parts of expressions: with the modifiers `re` and `expand`, `%command%nc ` is an expression for `nc` as a command,
 * and `%run%/etc/init.d/%below%` for a script in that directory.
 */
const FRAGMENTS: Readonly<Record<string, string>> = {
  /**
   * Where a command name can occur: at the start of a line or a statement, after `sh -c`, in a crontab, or after a word that
   * takes a command; optionally after assignments and a directory. So `apt install tor` and `/etc/tor` do not match
   * `tor`.
   */
  command:
    '(^|[;&|(`"{!] ?|-[a-z]*c ["\']?|\\* (root )?|\\b(do|then|else|time|sudo|exec|xargs|nohup|env|busybox|parallel) )(\\w+=\\S* )*(\\S*/)?',
  /** Program directories where only root can write: any user can give a file in /tmp the name of a harmless program. */
  system: '^(/usr(/local)?)?/s?bin/',
  /**
   * Programs that print whole files, by name. Excludes programs that search in files, editors, tools that use a key, such as ssh
   * and openssl, and those that copy a file over another, such as cp and curl.
   */
  reader:
    '(cat|tac|nl|head|tail|less|more|most|pg|bat(cat)?|strings|od|hexdump|hd|xxd|base(32|58|64|nc|z)|uuencode|ascii85|' +
    'rev|cut|paste|join|comm|sort|uniq|shuf|split|csplit|fold|fmt|pr|column|expand|unexpand|ul|look|ptx|dd|tar|zip|' +
    '7z[arz]?|gzip|pigz|bzip2|xz|zstd|lz4|cpio|ar|nc|ncat|netcat|socat|iconv|jq|m4|tclsh|[nt]roff|groff|tbl|eqn|soelim|' +
    'links|lynx|w3m|dialog|whiptail|aspell|highlight|msgcat|espeak|gdb|readelf|dig|nmap|ip( -\\S+)* -b(atch)?|ss|bridge|bc|ssh-keyscan)',
  /** Commands that start a script, up to its path; not `sh -c`, whose script any user can choose. */
  run: '^((/usr)?/bin/)?(((ba|da|a|k)?sh|perl|python[0-9.]*|[gm]?awk)( -[abd-zA-BD-Z]+)* )?',
  /** Script directories where only root can write. */
  place: '((/usr(/local)?)?/s?bin/|(/usr)?/(lib|libexec|share)/([^/. ][^/ ]*/)*|/etc/([^/. ][^/ ]*/)*)',
  /** The rest of a path, up to the end of the word. `..` is accepted only at its start: one directory up, not to /tmp. */
  below: '[^\\s/]*(/[^\\s/.][^\\s/]*)*(\\s|$)',
  /** Statements of nft(8) that flush or delete all rules, a firewall's table, or its chain for incoming packets. */
  nftOpen:
    '(flush ruleset|(flush|delete|destroy) (table ((inet|ip|ip6) )?(filter|firewalld|fw4|ufw)|' +
    'chain ((inet|ip|ip6) )?(filter|firewalld|fw4|ufw) (filter_|ufw6?-\\w+-)?(input|INPUT)))',
  /** An IPv4 address of a private network, carrier-grade NAT, link-local, or this machine. */
  private:
    '((10|127)\\.\\d+|100\\.(6[4-9]|[7-9]\\d|1[01]\\d|12[0-7])|169\\.254|172\\.(1[6-9]|2\\d|3[01])|192\\.168)(\\.\\d+){2}',
  /** Any other IPv4 address except those that start with 0: by the first number, or by the first two. */
  public:
    '(([1-9]|1[1-9]|[2-9]\\d|1(0[1-9]|[13458]\\d|2[0-689]|6[0-8]|7[013-9]|9[013-9])|2\\d\\d)\\.\\d+|' +
    '100\\.(\\d|[1-5]\\d|6[0-3]|1(2[89]|[3-9]\\d)|2\\d\\d)|169\\.(\\d\\d?|1\\d\\d|2([0-46-9]\\d|5[0-35]))|' +
    '172\\.(\\d|1[0-5]|3[2-9]|[4-9]\\d|[12]\\d\\d)|192\\.(\\d\\d?|1([0-57-9]\\d|6[0-79])|2\\d\\d))(\\.\\d+){2}',
};

/** Replaces the placeholders of an expression. @throws {Refused} if one is unknown */
export const withFragments = (expression: string): string =>
  expression.replace(/%([A-Za-z_][\w.-]*)%/g, (_, name: string) => {
    if (Object.hasOwn(FRAGMENTS, name)) return FRAGMENTS[name] ?? '';
    throw new Refused(`unknown placeholder "%${name}%"; known: ${Object.keys(FRAGMENTS).join(', ')}`);
  });

/** Fragments that are long enough to be recognised, longest first. */
const RECOGNISED = Object.entries(FRAGMENTS)
  .filter(([, text]) => text.length >= 20)
  .sort(([, a], [, b]) => b.length - a.length);

/** The inverse of `withFragments`, for readers of the expression. */
export const fragmentsIn = (expression: string): string =>
  RECOGNISED.reduce((text, [name, fragment]) => text.replaceAll(fragment, () => `%${name}%`), expression);
