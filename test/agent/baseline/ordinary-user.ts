/** Runs `work` with the rights of nobody, and takes root's back. Only for what waits for nobody else meanwhile. */
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
