/* Generates the completions for bash and zsh from the commands' help. */

import { collectors } from '../src/agent/collectors/index.ts';
import { allCommands, type NamedCommand } from './commands.ts';
import { type DocumentGenerator, GENERATED } from './documents.ts';

/** Candidates for one position: files, folders, or these words; empty for anything. */
type Values = 'files' | 'folders' | readonly string[];

interface Completed {
  readonly name: string;
  readonly summary: string;
  /** With leading hyphens. */
  readonly options: readonly { readonly name: string; readonly values?: Values }[];
  /** Candidates for an argument that is not an option. */
  readonly argument: Values;
  /** By a first argument, such as `check` of `vakt rules`: what can be the next ones. */
  readonly after: Readonly<Record<string, Values>>;
}

/** Candidates, keyed by the argument's name in the usage. */
const VALUES: Readonly<Record<string, Values>> = {
  FILE: 'files',
  'RULE-FILE': 'files',
  DIR: 'folders',
  FOLDER: 'folders',
  EVENT: collectors.map(({ name }) => name),
};

const WITHOUT_OPTIONS = { options: [], argument: [], after: {} } as const;

async function allCompleted(): Promise<Completed[]> {
  const commands = (await allCommands()).map(completed);
  return [...commands, { name: 'version', summary: 'Print the version.', ...WITHOUT_OPTIONS }];
}

/** Reads what `--help` prints. */
export function completed({ name, summary, usage }: Pick<NamedCommand, 'name' | 'summary' | 'usage'>): Completed {
  const [synopsis = '', ...explanation] = usage.split('\n\n');
  // Explanations also mention options of other commands.
  const explained = explanation.flatMap((paragraph) => paragraph.match(EXPLAINED) ?? []);
  const options = new Map<string, Values | undefined>();
  for (const [, option = '', value] of [synopsis, ...explained].join('\n').matchAll(OPTION)) {
    const values = value === undefined ? undefined : (VALUES[value] ?? choicesOf(usage, option));
    options.set(option, options.get(option) ?? values);
  }
  options.set('--help', undefined);
  const after: Record<string, Values> = {};
  for (const line of synopsis.split('\n')) {
    const [, word, next = ''] = new RegExp(`vakt ${name} ([a-z][a-z-]*)(?: \\[?([A-Z-]+))?`).exec(line) ?? [];
    if (word !== undefined) after[word] = VALUES[next] ?? [];
  }
  const words = Object.keys(after);
  const argument = new RegExp(`vakt ${name} \\[?([A-Z-]+)`).exec(synopsis)?.[1] ?? '';
  return {
    name,
    summary,
    options: [...options].map(([option, values]) => ({ name: option, ...(values === undefined ? {} : { values }) })),
    argument: words.length > 0 ? words : (VALUES[argument] ?? []),
    after,
  };
}

/** An option, and what it takes. */
const OPTION = /(?<=^|[ [|])(--[a-z][a-z-]*)(?: ([A-Z][A-Z-]*)\b)?/gm;
/** The options that a line explains. */
const EXPLAINED = /^ +--[a-z][a-z-]*(?: [A-Z][A-Z-]*\b)?(?: --[a-z][a-z-]*)*/gm;

/** `--fail-on SEVERITY  High, Low or never; default …` lists what it takes. */
function choicesOf(usage: string, option: string): readonly string[] {
  const [, list = ''] =
    new RegExp(`^ +${option} [A-Z-]+ +((?:[\\w.:]+, )*[\\w.:]+ or [\\w.:]+);`, 'm').exec(usage) ?? [];
  return list.split(/, | or /).filter((choice) => choice !== '');
}

const joined = (values: Values): string => (typeof values === 'string' ? '' : values.join(' '));

const bashValues = (values: Values): string =>
  values === 'files' ? '-f' : values === 'folders' ? '-d' : `-W '${joined(values)}'`;

function bashCase({ name, options, argument, after }: Completed): string {
  const withValues = options.filter(({ values }) => values !== undefined);
  const cases = withValues.map(
    ({ name: option, values = [] }) => `        ${option}) _vakt_complete ${bashValues(values)} ;;\n`,
  );
  const names = options.map(({ name: option }) => option).join(' ');
  return `    ${name})
      case $before in
${cases.join('')}        *)
          if [[ $word == -* ]]; then _vakt_complete -W '${names}'
          ${bashArguments(argument, after)}
          ;;
      esac
      ;;
`;
}

function bashArguments(argument: Values, after: Completed['after']): string {
  const cases = Object.entries(after).map(([word, values]) => `${word}) _vakt_complete ${bashValues(values)} ;;`);
  if (cases.length === 0) return `else _vakt_complete ${bashValues(argument)}; fi`;
  return `elif [ "$COMP_CWORD" = 2 ]; then _vakt_complete ${bashValues(argument)}
          else
            case \${COMP_WORDS[2]} in
${cases.map((each) => `              ${each}\n`).join('')}            esac
          fi`;
}

const bash = (commands: readonly Completed[]): string => `# ${GENERATED}
# shellcheck shell=bash

_vakt_complete() {
  local found
  while IFS= read -r found; do COMPREPLY+=("$found"); done < <(compgen "$@" -- "$word")
}

_vakt() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    _vakt_complete -W '${commands.map(({ name }) => name).join(' ')} --help --version'
    return
  fi
  case \${COMP_WORDS[1]} in
${commands.map(bashCase).join('')}  esac
}

complete -o filenames -F _vakt vakt
`;

/** For a single-quoted text of an argument of _arguments. */
const quoted = (text: string): string => text.replace(/'/g, "'\\''").replace(/[[\]:]/g, '\\$&');

const zshValues = (values: Values): string =>
  values === 'files' ? '_files' : values === 'folders' ? '_files -/' : `(${joined(values)})`;

function zshCase({ name, options, argument, after }: Completed): string {
  const specs = options.map(({ name: option, values }) =>
    values === undefined ? `'${option}'` : `'*${option}:${option.slice(2)}:${zshValues(values)}'`,
  );
  const call = (values: Values) => `_arguments ${[...specs, `'*:argument:${zshValues(values)}'`].join(' ')}`;
  const words = Object.entries(after);
  if (words.length === 0) return `    (${name}) ${call(argument)} ;;\n`;
  return `    (${name})
      if (( CURRENT == 2 )); then ${call(argument)}
      else
        case $words[2] in
${words.map(([word, values]) => `          (${word}) ${call(values)} ;;\n`).join('')}        esac
      fi ;;
`;
}

const zsh = (commands: readonly Completed[]): string => `#compdef vakt
# ${GENERATED}

_vakt() {
  if (( CURRENT == 2 )); then
    local -a commands=(
${commands.map(({ name, summary }) => `      '${name}:${quoted(summary)}'\n`).join('')}    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${commands.map(zshCase).join('')}  esac
}

_vakt "$@"
`;

export const completions: readonly DocumentGenerator[] = [
  { path: 'packaging/completions/vakt.bash', generate: async () => bash(await allCompleted()) },
  { path: 'packaging/completions/_vakt', generate: async () => zsh(await allCompleted()) },
];
