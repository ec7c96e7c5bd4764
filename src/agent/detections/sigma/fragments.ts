import { Refused } from './rule.ts';

/*
 * Parts of expressions by name: with the modifiers `re` and `expand`, `%command%nc ` is an expression for `nc` as a command,
 * and `%run%/etc/init.d/%below%` one for a script in that folder.
 */
const FRAGMENTS: Readonly<Record<string, string>> = {
  /**
   * Where the name of a command can stand: at the beginning of a line or of a statement, behind `sh -c`, in a crontab, or
   * behind a word that takes a command; with assignments and a folder before it. So `apt install tor` and `/etc/tor` are no
   * `tor`.
   */
  command:
    '(^|[;&|(`"{!] ?|-[a-z]*c ["\']?|\\* (root )?|\\b(do|then|else|time|sudo|exec|xargs|nohup|env|busybox|parallel) )(\\w+=\\S* )*(\\S*/)?',
  /** The folders of programs, where only root can write: anybody can give a file in /tmp the name of a harmless program. */
  system: '^(/usr(/local)?)?/s?bin/',
  /**
   * Programs that show what is in files as a whole, by their names. Not those that look for something in it, editors, those for
   * which a key is a tool, such as ssh and openssl, and those that copy one file over another, such as cp and curl.
   */
  reader:
    '(cat|tac|nl|head|tail|less|more|most|pg|bat(cat)?|strings|od|hexdump|hd|xxd|base(32|58|64|nc|z)|uuencode|ascii85|' +
    'rev|cut|paste|join|comm|sort|uniq|shuf|split|csplit|fold|fmt|pr|column|expand|unexpand|ul|look|ptx|dd|tar|zip|' +
    '7z[arz]?|gzip|pigz|bzip2|xz|zstd|lz4|cpio|ar|nc|ncat|netcat|socat|iconv|jq|m4|tclsh|[nt]roff|groff|tbl|eqn|soelim|' +
    'links|lynx|w3m|dialog|whiptail|aspell|highlight|msgcat|espeak|gdb|readelf|dig|nmap|ip( -\\S+)* -b(atch)?|ss|bridge|bc|ssh-keyscan)',
  /** What runs a script, up to its path; not `sh -c`, whose text anybody chooses. */
  run: '^((/usr)?/bin/)?(((ba|da|a|k)?sh|perl|python[0-9.]*|[gm]?awk)( -[abd-zA-BD-Z]+)* )?',
  /** Folders of scripts, where only root can write. */
  place: '((/usr(/local)?)?/s?bin/|(/usr)?/(lib|libexec|share)/([^/. ][^/ ]*/)*|/etc/([^/. ][^/ ]*/)*)',
  /** The rest of a path, and the end of the word. `..` is accepted at its beginning only: one folder up, not to /tmp. */
  below: '[^\\s/]*(/[^\\s/.][^\\s/]*)*(\\s|$)',
  /** Words of nft(8) that empty or delete all rules, the table of a firewall, or its chain for what comes in. */
  nftOpen:
    '(flush ruleset|(flush|delete|destroy) (table ((inet|ip|ip6) )?(filter|firewalld|fw4|ufw)|' +
    'chain ((inet|ip|ip6) )?(filter|firewalld|fw4|ufw) (filter_|ufw6?-\\w+-)?(input|INPUT)))',
  /** An IPv4 address of a private network, of a provider's own one, of the link, or of this machine. */
  private:
    '((10|127)\\.\\d+|100\\.(6[4-9]|[7-9]\\d|1[01]\\d|12[0-7])|169\\.254|172\\.(1[6-9]|2\\d|3[01])|192\\.168)(\\.\\d+){2}',
  /** Any other IPv4 address, but for those that begin with 0: by the first number, or by the first two. */
  public:
    '(([1-9]|1[1-9]|[2-9]\\d|1(0[1-9]|[13458]\\d|2[0-689]|6[0-8]|7[013-9]|9[013-9])|2\\d\\d)\\.\\d+|' +
    '100\\.(\\d|[1-5]\\d|6[0-3]|1(2[89]|[3-9]\\d)|2\\d\\d)|169\\.(\\d\\d?|1\\d\\d|2([0-46-9]\\d|5[0-35]))|' +
    '172\\.(\\d|1[0-5]|3[2-9]|[4-9]\\d|[12]\\d\\d)|192\\.(\\d\\d?|1([0-57-9]\\d|6[0-79])|2\\d\\d))(\\.\\d+){2}',
};

/** An expression whose placeholders are replaced. @throws {Refused} if one is not known */
export const withFragments = (expression: string): string =>
  expression.replace(/%([A-Za-z_][\w.-]*)%/g, (_, name: string) => {
    if (Object.hasOwn(FRAGMENTS, name)) return FRAGMENTS[name] ?? '';
    throw new Refused(`"%${name}%" is no part of expressions; known: ${Object.keys(FRAGMENTS).join(', ')}`);
  });

/** Fragments that are long enough to be recognised, longest first. */
const RECOGNISED = Object.entries(FRAGMENTS)
  .filter(([, text]) => text.length >= 20)
  .sort(([, a], [, b]) => b.length - a.length);

/** The inverse of `withFragments`, for people who read the expression. */
export const fragmentsIn = (expression: string): string =>
  RECOGNISED.reduce((text, [name, fragment]) => text.replaceAll(fragment, () => `%${name}%`), expression);
