/** A kernel configuration, see Documentation/kbuild/kconfig.rst: `CONFIG_X=y` lines, by name. Options not set are absent. */
export const parseKernelConfig = (text: string): ReadonlyMap<string, string> =>
  new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [key, value]));
