"""SeqGAN: the value of a token is the mean reward of sentences that continue from it.

    Q_t = mean over K completions of x_{1..t} of their reward, Q_S = the sentence's own;
    E sum_t (Q_t - b_t) grad log p(x_t | x_<t)

(Yu et al. 2017, equation 4.) Unbiased for the sentence's reward, with less variance than REINFORCE
at K S times the sampling. The paper has no baseline; `leave_one_out` subtracts the mean of the
other sentences at each step, which changes only the variance.
"""

from variants.estimator import MonteCarlo


class Rollout(MonteCarlo):
    """SeqGAN: action values from Monte-Carlo completions of every prefix."""

    paper = "Yu et al. 2017"
