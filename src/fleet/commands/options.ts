import type { readArguments } from '../../core/command-line/command.ts';

const text = { type: 'string' } as const;
const texts = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;

/** The options of all commands of `vakt fleet`. */
export const OPTIONS = {
  device: texts,
  where: text,
  all: flag,
  'connection-string-file': text,
  hub: text,
  'trusted-ca-file': text,
  proxy: text,
  'proxy-password-file': text,
  module: text,
  'twin-object-name': text,
  'dry-run': flag,
  yes: flag,
  tag: texts,
  configuration: text,
  overwrite: flag,
  'key-directory': text,
  wait: text,
  degraded: flag,
  paused: flag,
  silent: flag,
  alerts: flag,
  outdated: flag,
  json: flag,
  csv: flag,
  payload: text,
  timeout: text,
} as const;

/** The values of the given options. */
export type FleetValues = Readonly<ReturnType<typeof readArguments<typeof OPTIONS>>['values']>;
