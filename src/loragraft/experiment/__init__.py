"""The experiment matrix: the same questions to every arm, every answer kept and measured."""
