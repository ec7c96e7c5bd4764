/** `1 file`, `2 files`; `several` for other plurals. */
export const counted = (count: number, one: string, several = `${one}s`): string =>
  `${count} ${count === 1 ? one : several}`;
