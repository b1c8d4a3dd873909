"""Tests of run.sh and eval.sh: which commands they give. Plain Python: python3 test_scripts.py

The interpreter is a stand-in that writes its arguments down and leaves an empty file wherever one
was asked for.
"""

import os
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
STAND_IN = """#!/usr/bin/env bash
echo "$*" >>"$(dirname "$0")/commands"
[ "$1" = -c ] && exit 1 # no package of the judge's
for ((i = 2; i < $#; i++)); do
    next=$((i + 1))
    file=${!next}
    case $1,${!i} in
        adopt.py,--first) echo "$file" ;;
        adopt.py,*) ;;
        export.py,--out) touch "$file/model.safetensors" ;;
        *,--out) touch "$file" ;;
        train.py,--checkpoint) touch "$file" "$file.json" ;;
    esac
done
exit 0
"""


class ScriptsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.python = self.path("python")
        with open(self.python, "w", encoding="utf-8") as file:
            file.write(STAND_IN)
        os.chmod(self.python, 0o700)
        self.work = self.path("work")
        os.mkdir(self.work)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def touch(self, *names):
        for name in names:
            open(os.path.join(self.work, name), "w", encoding="utf-8").close()

    def commands(self, script, *args, **environment):
        """The commands that a script gave to the interpreter, [words] each."""
        if os.path.exists(self.path("commands")):
            os.remove(self.path("commands"))
        environment = {
            **os.environ,
            "PYTHON": self.python,
            "MODEL": self.path("out"),
            **environment,
        }
        command = [os.path.join(HERE, script), *args]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        with open(self.path("commands"), encoding="utf-8") as file:
            return [line.split() for line in file]

    def test_records_of_checkpoints_do_not_join_the_card(self):
        self.touch("dataset.pickle", "model.pt.json", "seed-1.json", "seed-0.pt.json")
        card = self.commands("eval.sh", WORK=self.work)[-1]
        self.assertEqual(card[0], "card.py")
        self.assertIn(os.path.join(self.work, "seed-1.json"), card)
        self.assertNotIn(os.path.join(self.work, "seed-0.pt.json"), card)

    def test_recipe_runs_every_step_and_what_is_there_is_not_made_again(self):
        self.touch("tokenizer.json")
        ran = self.commands("run.sh", self.work)
        scripts = [command[0] for command in ran]
        self.assertEqual(scripts[:4], ["corpus.py", "dataset.py", "train.py", "export.py"])
        self.assertEqual(scripts.count("train.py"), 8)  # first, self-labelled, six short ones
        self.assertEqual(scripts[-1], "card.py")
        without = [command for command in ran if "--no-generated" in command]
        self.assertEqual(len(without), 5)
        names = [name for name in os.listdir(self.work) if name.startswith("weight-")]
        self.assertIn("weight-0.3 with generated rows, seed 0.json", names)
        self.assertEqual(len(names), 6)
        again = [command[0] for command in self.commands("run.sh", self.work)]
        for made in ("corpus.py", "dataset.py", "export.py", "relabel.py"):
            self.assertNotIn(made, again)


if __name__ == "__main__":
    unittest.main()
