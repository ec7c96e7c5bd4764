/** Runs `work` with the privileges of the user nobody, then restores root's. Nothing else may run in between. */
export async function asOrdinaryUser<T>(work: () => Promise<T>): Promise<T> {
  const NOBODY = 65_534;
  process.setegid?.(NOBODY);
  process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}
