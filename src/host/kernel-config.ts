/** How a kernel was built, see Documentation/kbuild/kconfig.rst: `CONFIG_X=y`, one a line, by name. What isn't set is absent. */
export const parseKernelConfig = (text: string): ReadonlyMap<string, string> =>
  new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [key, value]));
