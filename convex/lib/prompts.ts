// What an assistant is told when it is started for a role. The deployment writes it from what it knows; names that got
// past `checkId`, and a machine's name and a path of one line (`checkLine`), are the only things of a caller's in it.

export interface Role {
  room: string;
  role: string;
  machine: string;
  directory: string;
}

export function initPrompt({ room, role, machine, directory }: Role): string {
  return [
    `You are the ${role} of the room ${room}. You work on the machine ${machine}, in the directory ${directory}.`,
    "Stay inside that directory unless a task says otherwise.",
    "",
    "Your tasks come from a queue. Take the next one with:",
    `  orchestrator wait-for-task --room ${room} --role ${role}`,
    "It waits until there is one, prints it, and tells you how to report the result. Do the task, report it, and take the",
    "next one. When the command says that there is nothing more to wait for, stop.",
  ].join("\n");
}
