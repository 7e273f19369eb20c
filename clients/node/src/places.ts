/** Places for a limited number of tasks at the same time. */

export class Places {
    private readonly waiting: (() => void)[] = [];

    constructor(private free: number) {}

    /** Runs a task when there is a place for it. */
    async run<T>(task: () => Promise<T>): Promise<T> {
        if (this.free > 0) this.free -= 1;
        else await new Promise<void>((resume) => this.waiting.push(resume));
        try {
            return await task();
        } finally {
            const next = this.waiting.shift();
            if (next) next();
            else this.free += 1;
        }
    }
}
